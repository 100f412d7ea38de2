import { SERVER_RULES, TASK_RULES } from "./protocol.js";
import type { PayloadRules, ServerPayloads, StageEntry, TaskPayloads } from "./protocol.js";
import type { Problem } from "./problem.js";
import { parseRev } from "./rev.js";

/** A message of a task, as a job published it. */
export type TaskMessage = {
  readonly [T in keyof TaskPayloads]: {
    readonly type: T;
    readonly taskId: string;
    /** Null in a `reset` after which the server has no state. */
    readonly rev: T extends "reset" ? string | null : string;
    readonly payload: TaskPayloads[T];
  };
}[keyof TaskPayloads];

/** A message of the server's own; its `error` is called `refused`, to tell it from a job's. */
export type ServerMessage = {
  readonly [T in keyof ServerPayloads]: {
    readonly type: T extends "error" ? "refused" : T;
    readonly taskId: string;
    readonly payload: ServerPayloads[T];
  };
}[keyof ServerPayloads];

/** What came of a text: a message of one of the two kinds, a pong, or what is wrong with it. */
export interface Parsed {
  readonly task?: TaskMessage;
  readonly server?: ServerMessage;
  readonly pong?: true;
  readonly problem?: Problem;
}

/** Reads a text frame. Never throws. */
export function parseMessage(text: unknown): Parsed {
  try {
    return readMessage(JSON.parse(text as string));
  } catch (cause) {
    return bad("not JSON", { cause });
  }
}

/** Reads a message that is JSON already. Never throws. */
export function readMessage(value: unknown): Parsed {
  const { type, taskId = "", rev, payload = {} } = isObject(value) ? value : {};
  if (type === "pong") {
    return { pong: true };
  }
  if (typeof type !== "string" || typeof taskId !== "string" || !isObject(payload)) {
    return bad("not a message");
  }
  const isRefusal = type === "error" && payload.scope === "request";
  const ofTask = !isRefusal && Object.hasOwn(TASK_RULES, type);
  if (!ofTask && !Object.hasOwn(SERVER_RULES, type)) {
    return { problem: { code: "UNKNOWN_TYPE", message: type, taskId } };
  }
  const rules = ofTask
    ? TASK_RULES[type as keyof TaskPayloads].payload
    : SERVER_RULES[type as keyof ServerPayloads];
  const needsRev = ofTask && !(type === "reset" && rev === null);
  const wrong = needsRev && !parseRev(rev) ? "rev" : wrongMember(payload, rules);
  if (wrong) {
    return bad(`${type}: wrong ${wrong}`, { taskId });
  }
  return ofTask
    ? { task: { type, taskId, rev, payload } as TaskMessage }
    : { server: { type: isRefusal ? "refused" : type, taskId, payload } as ServerMessage };
}

function bad(message: string, more?: Partial<Problem>): Parsed {
  return { problem: { code: "BAD_MESSAGE", message, ...more } };
}

/** The entries of a list of stages that are in order; the others are left out. */
export function readStages(value: unknown): readonly StageEntry[] {
  return Array.isArray(value)
    ? value.filter(
        (entry): entry is StageEntry =>
          isObject(entry) && typeof entry.stage === "string" && typeof entry.timestamp === "string",
      )
    : [];
}

/** Whether a value is a JSON object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The name of the first member that isn't as its rule says, if there is one. */
function wrongMember(payload: Record<string, unknown>, rules: PayloadRules): string | undefined {
  return Object.keys(rules).find((name) => {
    const [type, min = -Infinity, max = Infinity] = rules[name]!;
    const value = payload[name];
    if (value === undefined || value === null) {
      return !type.endsWith(value === null ? "|null" : "?");
    }
    if (typeof value === "number" && !(value >= min && value <= max && Number.isFinite(value))) {
      return true;
    }
    return !type.startsWith(Array.isArray(value) ? "array" : typeof value);
  });
}
