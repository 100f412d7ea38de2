import type { Failure, Progress, Result } from "./custom.js";
import type { TimeEstimatePayload } from "./protocol.js";
import type { Problem } from "./problem.js";
import type { TaskState } from "./task-state.js";

/**
 * How the client stands with the server:
 *
 * - `idle`: nothing is to be watched: no task, or all have ended; or `disconnect()` was called, or
 *   the server told this client to stay away (4403).
 * - `live`: updates come as they happen.
 * - `reconnecting`: there is no connection yet, or none any more; one is being tried for.
 * - `polling`: WebSocket doesn't get through; the server is asked every few seconds instead.
 * - `offline`: the server can't be reached in either way; the client goes on trying.
 */
export type ConnectionStatus = "idle" | "live" | "reconnecting" | "polling" | "offline";

/** What a task's events tell. */
export interface TaskEventDetail<Payload> {
  readonly taskId: string;
  /** What the job published. */
  readonly payload: Payload;
  /** All that is known of the task, with this in it. */
  readonly state: TaskState;
}

/** A task entered a stage. */
export interface StageEntered {
  /** The stage before; null if there was none, or it isn't known. */
  readonly fromStage: string | null;
  readonly toStage: string;
}

/** The client's events, and the `detail` of each. */
export interface ProgressEvents {
  /** A task went on. */
  ProgressUpdated: TaskEventDetail<Progress>;
  /** A task entered a stage. */
  StageChanged: TaskEventDetail<StageEntered>;
  /** There is another estimate of a task's remaining time. */
  TimeEstimateUpdated: TaskEventDetail<TimeEstimatePayload>;
  /** A task has come to its result. */
  ProgressCompleted: TaskEventDetail<Result>;
  /** A task's job failed; with `payload.retryable` it may go on. */
  ProgressFailed: TaskEventDetail<Failure>;
  /** A task began anew. */
  ProgressReset: { readonly taskId: string; readonly state: TaskState };
  /** A task's state is another, for whatever reason; comes after the events above. */
  TaskChanged: TaskState;
  /** How the client stands with the server is another. */
  ConnectionChanged: {
    readonly connection: ConnectionStatus;
    readonly previous: ConnectionStatus;
  };
  /** Something went wrong; the client keeps its state, and goes on. */
  ProblemReported: Problem;
}

/** Takes an event's detail to those who listen. */
export type Emit = <Type extends keyof ProgressEvents>(
  type: Type,
  detail: ProgressEvents[Type],
) => void;

/** Listens to one type of event. */
export type ProgressListener<Type extends keyof ProgressEvents> =
  | ((event: CustomEvent<ProgressEvents[Type]>) => void)
  | { handleEvent(event: CustomEvent<ProgressEvents[Type]>): void };

/** An `EventTarget` that knows the types of the client's events. */
export interface ProgressEventTarget extends EventTarget {
  addEventListener<Type extends keyof ProgressEvents>(
    type: Type,
    listener: ProgressListener<Type> | null,
    options?: AddEventListenerOptions | boolean,
  ): void;
  removeEventListener<Type extends keyof ProgressEvents>(
    type: Type,
    listener: ProgressListener<Type> | null,
    options?: EventListenerOptions | boolean,
  ): void;
}

/** `EventTarget` itself, under its other type. */
export const ProgressEventTarget = EventTarget as new () => ProgressEventTarget;
