/**
 * One watched task: takes messages and answers, in whatever order they come, and keeps the state.
 *
 * A task's revs are ordered by their `n`. What has no larger `n` than what is held is dropped, so
 * that an answer that was long on its way never overwrites a newer frame. Another `run` is a new
 * beginning, also when the `reset` itself was missed.
 */
import { STAGES_MAX, TASK_RULES } from "./protocol.js";
import type { StageEntry } from "./protocol.js";
import type { TaskMessage } from "./message.js";
import { parseRev } from "./rev.js";
import { blankTask } from "./task-state.js";
import type { Refusal, TaskListeners, TaskState, TaskStatus } from "./task-state.js";

export class Task {
  /** Those who watch it. */
  readonly watchers = new Set<TaskListeners>();
  /** The state as of now. */
  state: TaskState;
  #run = "";
  #n = -1;
  /** The held list of stages has all that were entered up to this `n`. */
  #stagesN = -1;
  /** The server confirmed the state, and will tell what changes. */
  #confirmed = false;
  /** The server answered that it has no state. */
  #absent = false;
  /** Asked for again, although it has ended. */
  #wanted = false;

  constructor(taskId: string) {
    this.state = blankTask(taskId);
  }

  /** Nothing more is to be asked about it. */
  get settled(): boolean {
    return (this.state.done && !this.#wanted) || this.state.refusal !== null;
  }

  /** Takes a message; false if it is older than what is held. */
  receive(message: TaskMessage): boolean {
    const rev = parseRev(message.rev)!;
    if (rev.n <= this.#n) {
      return false;
    }
    if (rev.run !== this.#run || message.type === "reset") {
      this.#begin(rev.run);
    }
    this.#n = rev.n;
    this.#change({
      rev: message.rev,
      ...(TASK_RULES[message.type].clearsError && { error: null }),
      ...this.#stageAfter(message, rev.n),
      ...news(this.state, message),
    });
    return true;
  }

  /**
   * Takes the head of an answer, whose messages come after it: the rev it will end at, null if the
   * server has no state, and the stages so far. Returns true if it tells of a new run.
   */
  answered(rev: string | null, stages: readonly StageEntry[]): boolean {
    this.#confirmed = true;
    this.#wanted = false;
    this.#absent = rev === null;
    const { run, n } = parseRev(rev) ?? { run: this.#run, n: -1 };
    const begins = n > this.#n && run !== this.#run && this.#run !== "";
    if (begins) {
      this.#begin(run);
    }
    if (n >= this.#n && n >= 0) {
      this.#run = run;
      this.#stagesN = n;
      const last = stages.at(-1);
      this.#change({ stages, ...(last && { stage: last.stage }) });
    } else {
      this.#change({});
    }
    return begins;
  }

  /** What is held is what the server has. */
  confirm(): void {
    this.#confirmed = true;
    this.#wanted = false;
    this.#change({});
  }

  /** The server can't be reached: the state may be out of date from now on. */
  unconfirm(): void {
    this.#confirmed = false;
    this.#change({});
  }

  /** The server doesn't let us watch it. */
  refuse(refusal: Refusal): void {
    this.#wanted = false;
    this.#change({ refusal });
  }

  /** Is to be asked about again, also if it has ended or was refused. */
  reopen(): void {
    this.#wanted = true;
    this.#change({ refusal: null });
  }

  #begin(run: string): void {
    this.#run = run;
    this.#stagesN = -1;
    this.#absent = false;
    this.state = blankTask(this.state.taskId);
  }

  #stageAfter(message: TaskMessage, n: number): Partial<TaskState> {
    const { stage: member, entersAgain } = TASK_RULES[message.type];
    if (!member) {
      return {};
    }
    const payload = message.payload as { readonly [name: string]: unknown };
    const stage = payload[member] as string;
    const { stages } = this.state;
    if (n <= this.#stagesN || (!entersAgain && stages.at(-1)?.stage === stage)) {
      return { stage };
    }
    const entry = { stage, timestamp: payload.timestamp as string };
    return { stage, stages: [...stages, entry].slice(-STAGES_MAX) };
  }

  #change(change: Partial<TaskState>): void {
    const state = { ...this.state, ...change };
    const done = state.result !== null || (state.error !== null && !state.error.retryable);
    const stale = !this.#confirmed && !done && state.rev !== null;
    const next: TaskState = { ...state, done, stale, status: this.#status(state, done) };
    if (
      Object.keys(next).some(
        (key) => next[key as keyof TaskState] !== this.state[key as keyof TaskState],
      )
    ) {
      this.state = next;
    }
  }

  #status(state: TaskState, done: boolean): TaskStatus {
    if (state.refusal) {
      return "refused";
    }
    if (state.result) {
      return "complete";
    }
    if (state.error) {
      return state.error.code === "JOB_LOST" ? "lost" : done ? "failed" : "interrupted";
    }
    if (state.rev !== null || this.#stagesN >= 0) {
      return "running";
    }
    return this.#absent ? "waiting" : "connecting";
  }
}

/** What a message says, beside its stage. */
function news(state: TaskState, message: TaskMessage): Partial<TaskState> {
  switch (message.type) {
    case "progress_update": {
      const percentage = Math.max(state.percentage ?? 0, message.payload.percentage);
      return { progress: message.payload, percentage };
    }
    case "time_estimate": {
      const { estimatedTimeRemaining: seconds, confidence } = message.payload;
      return { estimate: { seconds, confidence, madeAt: Date.now() } };
    }
    case "complete":
      return { result: message.payload, percentage: 100, estimate: null };
    case "error":
      return { error: message.payload, estimate: null };
    default:
      return {};
  }
}
