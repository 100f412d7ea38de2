import type { HttpErrorCode, RequestErrorCode } from "./protocol.js";

/**
 * What went wrong, in a word:
 *
 * - `BAD_MESSAGE`: the server sent what is no message of the protocol; it was ignored.
 * - `UNKNOWN_TYPE`: a message of a type that this version doesn't know; it was ignored.
 * - `WRONG_TASK`: a message about a task that nobody watches; it was ignored.
 * - `CONNECTION_LOST`: the WebSocket connection closed, or couldn't be made.
 * - `NO_PONG`, `NO_ANSWER`: the server was silent for 10 s, so the connection was given up.
 * - `POLL_FAILED`: no answer to a poll, or one that isn't the server's.
 * - `TOKEN_FAILED`: the token provider failed, gave no token, or took longer than 15 s.
 * - all others: the server's own codes, when it refuses a request.
 */
export type ProblemCode =
  | "BAD_MESSAGE"
  | "UNKNOWN_TYPE"
  | "WRONG_TASK"
  | "CONNECTION_LOST"
  | "NO_PONG"
  | "NO_ANSWER"
  | "POLL_FAILED"
  | "TOKEN_FAILED"
  | RequestErrorCode
  | HttpErrorCode;

/** Something that went wrong between client and server. The client recovers by itself from all but a refusal. */
export interface Problem {
  /** What went wrong; a server newer than this client may send other codes. */
  readonly code: ProblemCode | (string & {});
  /** The same for a developer, in English. */
  readonly message: string;
  /** The task that it is about, if it is about one. */
  readonly taskId?: string;
  /** The code that a WebSocket connection was closed with. */
  readonly closeCode?: number;
  /** The error underneath, if there is one. */
  readonly cause?: unknown;
}
