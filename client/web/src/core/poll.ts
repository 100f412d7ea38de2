/** One poll: asks over HTTP for the state of a task, and says what came of it. Never rejects. */
import type { StageEntry } from "./protocol.js";
import { isObject, readMessage, readStages } from "./message.js";
import type { TaskMessage } from "./message.js";
import type { Problem } from "./problem.js";
import { parseRev } from "./rev.js";

/** As much of `fetch` as the client uses. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

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

/**
 * Asks once.
 *
 * @param ask sends the request; it may throw
 * @param rev what is held of the task; the answer is `unchanged` while that is current
 * @param signal gives the poll up
 */
export async function poll(
  ask: (init: RequestInit) => Promise<Response>,
  taskId: string,
  token: string,
  rev: string | null,
  signal: AbortSignal,
): Promise<PollResult> {
  try {
    const response = await ask({
      headers: {
        Authorization: `Bearer ${token}`,
        ...(rev && { "If-None-Match": `"${rev}"` }),
      },
      cache: "no-store", // or the browser's cache would answer in the server's place
      signal,
    });
    const { status } = response;
    const _afterMs = Number(response.headers.get("Retry-After")) * 1000;
    if (status === 304 && rev) {
      return { _answer: "unchanged", _afterMs };
    }
    const body: unknown = JSON.parse(await response.text());
    return { ...(status === 200 ? readState : readError)(taskId, body, status), _afterMs };
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
  const _messages: TaskMessage[] = [];
  const _problems: Problem[] = [];
  for (const { task, problem } of body.messages.map(readMessage)) {
    if (task?.taskId === taskId) {
      _messages.push(task);
    } else {
      _problems.push(problem ?? { code: "BAD_MESSAGE", message: "no message of the task", taskId });
    }
  }
  return {
    _answer: { _rev: body.rev as string, _stages: readStages(body.stages), _messages, _problems },
  };
}

function readError(taskId: string, body: unknown, status: number): PollResult {
  const error = isObject(body) && body.error;
  if (!isObject(error) || typeof error.code !== "string") {
    throw new Error(`status ${status}`);
  }
  const { code, message } = error;
  return code === "TASK_NOT_FOUND"
    ? { _answer: null }
    : { _problem: { code, message: String(message), taskId }, _refusedWith: status };
}
