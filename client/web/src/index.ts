/**
 * Live progress of long jobs, from a progressd broker: the client, without a framework.
 *
 * @packageDocumentation
 */
export { ProgressClient } from "./core/client.js";
export type { ProgressClientOptions, SubscribeOptions } from "./core/client.js";
export type {
  ConnectionStatus,
  ProgressEvents,
  ProgressEventTarget,
  ProgressListener,
  StageEntered,
  TaskEventDetail,
} from "./core/events.js";
// As a whole, so that an application's declarations find the interfaces here.
export type * from "./core/custom.js";
export type { Problem, ProblemCode } from "./core/problem.js";
export type {
  Refusal,
  TaskListeners,
  TaskState,
  TaskStatus,
  TimeEstimate,
} from "./core/task-state.js";
export type { TokenProvider } from "./core/tokens.js";
export type { WebSocketConstructor, WebSocketLike } from "./core/socket.js";
export type { Fetch } from "./core/poll.js";
export type {
  CompletePayload,
  ErrorPayload,
  ProgressUpdatePayload,
  StageEntry,
  TimeEstimatePayload,
} from "./core/protocol.js";
