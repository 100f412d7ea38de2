/** One poll: asks over HTTP for the state of a task, and says what came of it. Never rejects. */
import type { StageEntry } from "./protocol.js";
import { isObject, readMessage, readStages } from "./message.js";
import type { TaskMessage } from "./message.js";
import type { Problem } from "./problem.js";
import { parseRev } from "./rev.js";

/** As much of `fetch` as the client uses. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** What a poll needs to know. */
export interface PollRequest {
  readonly _fetch: Fetch;
  /** Gives the address; it may throw. */
  readonly _url: () => string;
  readonly _taskId: string;
  readonly _token: string;
  /** What is held of the task; the answer is `unchanged` while that is current. */
  readonly _rev: string | null;
  /** Gives the poll up. */
  readonly _signal: AbortSignal;
}

/** The state of a task as an answer holds it. */
export interface PolledState {
  readonly _rev: string;
  readonly _stages: readonly StageEntry[];
  readonly _messages: readonly TaskMessage[];
  /** What is wrong in it: it was left out. */
  readonly _problems: readonly Problem[];
}

/** What came of a poll. */
export interface PollResult {
  /** The state; null if the task has none; left out if there was no such answer. */
  readonly _answer?: PolledState | null | "unchanged";
  /** Why there is no answer. */
  readonly _problem?: Problem;
  /** The server understood and said no, with this status. */
  readonly _refusedWith?: number;
  /** The pause that the server asked for, in milliseconds; 0 or NaN if it asked for none. */
  readonly _afterMs?: number;
}

/** Asks once. */
export async function poll(request: PollRequest): Promise<PollResult> {
  const {
    _fetch: fetch,
    _url: url,
    _taskId: taskId,
    _token: token,
    _rev: rev,
    _signal: signal,
  } = request;
  try {
    const response = await fetch(url(), {
      headers: {
        Authorization: `Bearer ${token}`,
        ...(rev !== null && { "If-None-Match": `"${rev}"` }),
      },
      cache: "no-store", // or the browser's cache would answer in the server's place
      signal,
    });
    const { status } = response;
    const afterMs = Number(response.headers.get("Retry-After")) * 1000;
    if (status === 304 && rev !== null) {
      return { _answer: "unchanged", _afterMs: afterMs };
    }
    const body: unknown = JSON.parse(await response.text());
    return {
      ...(status === 200 ? readState(taskId, body) : readError(taskId, status, body)),
      _afterMs: afterMs,
    };
  } catch (cause) {
    return { _problem: { code: "POLL_FAILED", message: String(cause), taskId, cause } };
  }
}

function readState(taskId: string, body: unknown): PollResult {
  if (
    !isObject(body) ||
    body.taskId !== taskId ||
    !parseRev(body.rev) ||
    !Array.isArray(body.messages)
  ) {
    throw new Error("not a state of the task");
  }
  const messages: TaskMessage[] = [];
  const problems: Problem[] = [];
  for (const parsed of body.messages.map(readMessage)) {
    if ("problem" in parsed) {
      problems.push(parsed.problem);
    } else if ("task" in parsed && parsed.task.taskId === taskId) {
      messages.push(parsed.task);
    } else {
      problems.push({ code: "BAD_MESSAGE", message: "no message of the task", taskId });
    }
  }
  const stages = readStages(body.stages);
  return {
    _answer: {
      _rev: body.rev as string,
      _stages: stages,
      _messages: messages,
      _problems: problems,
    },
  };
}

function readError(taskId: string, status: number, body: unknown): PollResult {
  const error = isObject(body) && body.error;
  if (!isObject(error) || typeof error.code !== "string") {
    throw new Error(`status ${status}`);
  }
  const problem = { code: error.code, message: String(error.message), taskId };
  return error.code === "TASK_NOT_FOUND"
    ? { _answer: null }
    : { _problem: problem, _refusedWith: status };
}
