import type { Failure, Progress, Result } from "./custom.js";
import type { StageEntry } from "./protocol.js";

/**
 * How a task is doing:
 *
 * - `connecting`: nothing is known yet.
 * - `waiting`: the server has no progress of it: it has not begun, or is to begin again.
 * - `running`: it is being worked on.
 * - `interrupted`: it failed, and may go on.
 * - `lost`: the job gave no sign of life any more (`JOB_LOST`); it may go on.
 * - `complete`, `failed`: it has ended.
 * - `refused`: the server doesn't let us watch it, and nothing is known of it; `refusal` says why.
 */
export type TaskStatus =
  "connecting" | "waiting" | "running" | "interrupted" | "lost" | "complete" | "failed" | "refused";

/** When a task may be done. */
export interface TimeEstimate {
  /** The time that remained at `madeAt`, in seconds. */
  readonly seconds: number;
  /** How sure the job is, from 0 to 1. */
  readonly confidence: number;
  /** When it was made, in milliseconds since 1970 by this machine's clock. */
  readonly madeAt: number;
}

/** Why the server doesn't let us watch a task. */
export interface Refusal {
  /** The server's code, such as `FORBIDDEN`. */
  readonly code: string;
  /** The server's words, for a developer. */
  readonly message: string;
  /** The client goes on trying: with a fresh token, when the code is about tokens. */
  readonly isRetried?: boolean;
}

/** What is told to one who watches a task. */
export interface TaskListeners {
  /** The task's state is another, for whatever reason. */
  readonly onChange?: (state: TaskState) => void;
  /** The task has come to its result, now or before it was watched. Comes once for each result. */
  readonly onComplete?: (result: Result, state: TaskState) => void;
  /** The job has failed, now or before it was watched. With `error.retryable` it may go on. */
  readonly onError?: (error: Failure, state: TaskState) => void;
}

/** All that is known of a task. It never changes: a change makes a new one. */
export interface TaskState {
  readonly taskId: string;
  readonly status: TaskStatus;
  /** The revision of this state; null while nothing is known. */
  readonly rev: string | null;
  /**
   * From 0 to 100; null while unknown. Within a stage it doesn't run backwards, unless the job
   * clearly begins again.
   */
  readonly percentage: number | null;
  /** The stage the task is in; null while unknown. */
  readonly stage: string | null;
  /** The stages so far, oldest first, at most the last 32. */
  readonly stages: readonly StageEntry[];
  /** The latest `progress_update` as the job wrote it, with the members that only job and page know. */
  readonly progress: Progress | null;
  /** When it may be done; null while unknown. */
  readonly estimate: TimeEstimate | null;
  /**
   * When the job last told anything, in milliseconds since 1970 by this machine's clock; null while
   * unknown.
   */
  readonly lastSeen: number | null;
  /** The result, once `complete`. */
  readonly result: Result | null;
  /** What the job failed with, while `failed`, `interrupted` or `lost`. */
  readonly error: Failure | null;
  /** Why it can't be watched, as long as that is so. */
  readonly refusal: Refusal | null;
  /** It has ended: `complete` or `failed`. */
  readonly done: boolean;
  /** The state may be out of date, since the server can't be reached. */
  readonly stale: boolean;
}

/** The state of a task of which nothing is known yet. */
export function blankTask(taskId: string): TaskState {
  return {
    taskId,
    status: "connecting",
    rev: null,
    percentage: null,
    stage: null,
    stages: [],
    progress: null,
    estimate: null,
    lastSeen: null,
    result: null,
    error: null,
    refusal: null,
    done: false,
    stale: false,
  };
}
