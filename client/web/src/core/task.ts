/**
 * One watched task: takes messages and answers, in whatever order they come, and keeps the state.
 *
 * A task's revs are ordered by their `n`. What has no larger `n` than what is held is dropped, so
 * that an answer that was long on its way never overwrites a newer frame. Another `run` is a new
 * beginning, also when the `reset` itself was missed.
 *
 * An answer has a head, which names the rev that it ends at, and then messages up to that rev. The
 * state shows nothing of it before all of it has come: half an answer is no state that the task
 * ever was in.
 */
import { STAGES_MAX, TASK_RULES } from "./protocol.js";
import type { StageEntry } from "./protocol.js";
import type { TaskMessage } from "./message.js";
import { parseRev } from "./rev.js";
import { blankTask } from "./task-state.js";
import type { Refusal, TaskListeners, TaskState, TaskStatus } from "./task-state.js";
import { Timer } from "./timer.js";

/** A percentage that falls by no more than this within a stage is noise; by more, a new attempt. */
const NOISE = 10;
/** An answer's messages come right after its head; if not all do, the rest isn't waited for longer. */
const ARRIVES_WITHIN_MS = 500;

/** What stands for the rev where there is none. */
const NO_REV = { _run: "", _n: -1 };

/** What has come to a task since its state was last shown. */
export interface TaskNews {
  /** The messages that were taken. */
  readonly _messages: readonly TaskMessage[];
  /** It began anew. */
  readonly _begins: boolean;
}

export class Task {
  /** Those who watch it. */
  readonly _watchers = new Set<TaskListeners>();
  /** The state as of now, as far as it has come whole. */
  _state: TaskState;
  /** The state with all that has come. */
  #next: TaskState;
  #messages: TaskMessage[] = [];
  #begins = false;
  #run = "";
  #n = -1;
  /** The answer that is arriving ends at this `n`. */
  #arrivesAt = -1;
  readonly #arriving = new Timer();
  /** The held list of stages has all that were entered up to this `n`. */
  #stagesN = -1;
  /** The next percentage is of a new attempt, also if it is smaller. */
  #startsOver = false;
  /** The server confirmed the state, and will tell what changes. */
  #confirmed = false;
  /** The server has told of the task. */
  #answered = false;
  /** Asked for again, although it has ended. */
  #wanted = false;

  /** @param _onLate what there is of an answer is to be shown, since the rest doesn't come */
  constructor(
    taskId: string,
    private readonly _onLate: () => void,
  ) {
    this._state = this.#next = blankTask(taskId);
  }

  /** Nothing more is to be asked about it. */
  get _settled(): boolean {
    const { done, refusal } = this._state;
    return (done && !this.#wanted && !this._isArriving) || (refusal !== null && !refusal.isRetried);
  }

  /** The messages of an answer are still coming. */
  get _isArriving(): boolean {
    return this.#arriving._running;
  }

  /** Forgets that it may be waiting for something. */
  _close(): void {
    this.#arriving._clear();
  }

  /**
   * Takes a message; does nothing if it is older than what is held.
   *
   * @param at when it was made, in milliseconds since 1970 by this machine's clock
   */
  _receive(message: TaskMessage, at: number): void {
    const { _run: run, _n: n } = parseRev(message.rev) ?? NO_REV;
    if (message.type === "reset") {
      // The server's word for a new beginning holds whatever its clock says.
      if (n === this.#n && run === this.#run) {
        return;
      }
      this.#begin(run);
      this.#answered = true;
    } else if (n <= this.#n) {
      return;
    } else if (run !== this.#run) {
      this.#begin(run);
    }
    this.#n = n;
    this.#messages.push(message);
    const { clearsError } = TASK_RULES[message.type];
    this.#startsOver ||= clearsError === true && this.#next.error !== null;
    this.#change({
      rev: message.rev,
      ...(clearsError && { error: null }),
      ...(isSignOfLife(message) && { lastSeen: at }),
      ...this.#news(message, at),
      ...this.#stageAfter(message, n),
    });
    if (n >= this.#arrivesAt) {
      this.#arriving._clear();
    }
  }

  /**
   * Takes the head of an answer, whose messages come after it.
   *
   * @param rev the rev that it ends at; null if the server has no state
   * @param stages the stages so far
   * @param isNewest the answer is to a question that was asked when all that is held had come
   * @returns whether the messages are to be taken, too
   */
  _answered(rev: string | null, stages: readonly StageEntry[], isNewest = true): boolean {
    this.#confirmed = true;
    this.#wanted = false;
    this.#answered = true;
    const head = parseRev(rev);
    if (head === null) {
      if (isNewest && this.#next.rev !== null) {
        this.#begin("");
      }
    } else if (head._run !== this.#run && (isNewest || head._n > this.#n)) {
      this.#begin(head._run);
    } else if (head._n < this.#n) {
      this.#change({});
      return false;
    }
    const last = stages.at(-1);
    this.#change({ refusal: null, ...(head && { stages }), ...(last && { stage: last.stage }) });
    if (head) {
      this.#stagesN = this.#arrivesAt = head._n;
      if (head._n > this.#n) {
        this.#arriving._set(ARRIVES_WITHIN_MS, this._onLate);
      }
    }
    return true;
  }

  /** An answer has come as a whole: what it didn't tell isn't there. */
  _arrived(rev: string): void {
    this.#arriving._clear();
    this.#n = Math.max(this.#n, parseRev(rev)!._n);
    this.#change({ rev: this.#next.rev ?? rev });
  }

  /** What is held is what the server has. */
  _confirm(): void {
    this.#confirmed = true;
    this.#wanted = false;
    this.#change({ refusal: null });
  }

  /** The server can't be reached: the state may be out of date from now on. */
  _unconfirm(): void {
    this.#confirmed = false;
    if (this._isArriving) {
      this.#dropHalf();
    }
    this.#change({});
  }

  /** The server doesn't let us watch it. */
  _refuse(refusal: Refusal): void {
    this.#wanted = this.#confirmed = false;
    this.#change({ refusal });
  }

  /** Is to be asked about again, also if it has ended or was refused. */
  _reopen(): void {
    this.#wanted = true;
    this.#change({ refusal: null });
  }

  /** Shows the state, unless an answer is arriving; returns what has come since it last did. */
  _show(): TaskNews {
    if (this._isArriving) {
      return { _messages: [], _begins: false };
    }
    const news = { _messages: this.#messages, _begins: this.#begins };
    this.#messages = [];
    this.#begins = false;
    if (differs(this.#next, this._state)) {
      this._state = this.#next;
    }
    return news;
  }

  #begin(run: string): void {
    this.#begins = this.#next.rev !== null;
    this.#messages = [];
    this.#run = run;
    this.#n = this.#stagesN = this.#arrivesAt = -1;
    this.#arriving._clear();
    this.#next = blankTask(this.#next.taskId);
  }

  /** The rest of an answer won't come: goes back to what is shown. */
  #dropHalf(): void {
    const { _run: run, _n: n } = parseRev(this._state.rev) ?? NO_REV;
    this.#next = this._state;
    this.#messages = [];
    this.#begins = false;
    this.#run = run;
    this.#n = this.#stagesN = n;
    this.#arriving._clear();
  }

  #stageAfter(message: TaskMessage, n: number): Partial<TaskState> {
    const { stage: member, entersAgain } = TASK_RULES[message.type];
    if (!member) {
      return {};
    }
    const payload = message.payload as { readonly [name: string]: unknown };
    const stage = payload[member] as string;
    const { stages } = this.#next;
    if (n <= this.#stagesN || (!entersAgain && stages.at(-1)?.stage === stage)) {
      return { stage };
    }
    const entry = { stage, timestamp: payload.timestamp as string };
    return { stage, stages: [...stages, entry].slice(-STAGES_MAX) };
  }

  /** What a message says, beside its stage. */
  #news(message: TaskMessage, madeAt: number): Partial<TaskState> {
    switch (message.type) {
      case "progress_update":
        return { progress: message.payload, percentage: this.#percentageAfter(message.payload) };
      case "stage_change":
        this.#startsOver = true;
        return {};
      case "time_estimate": {
        const { estimatedTimeRemaining: seconds, confidence } = message.payload;
        return { estimate: { seconds, confidence, madeAt } };
      }
      case "complete":
        return { result: message.payload, percentage: 100, estimate: null };
      case "error":
        return { error: message.payload, estimate: null };
      default:
        return {};
    }
  }

  /** The bar goes only forwards within a stage, until the job clearly begins again. */
  #percentageAfter({ percentage, stage }: { percentage: number; stage: string }): number {
    const held = this.#next.percentage ?? 0;
    const isNoise =
      !this.#startsOver && this.#next.progress?.stage === stage && percentage >= held - NOISE;
    this.#startsOver = false;
    return isNoise ? Math.max(held, percentage) : percentage;
  }

  #change(change: Partial<TaskState>): void {
    const state = { ...this.#next, ...change };
    const done = state.result !== null || (state.error !== null && !state.error.retryable);
    const stale = !this.#confirmed && !done && state.rev !== null;
    this.#next = { ...state, done, stale, status: this.#status(state, done) };
  }

  #status(state: TaskState, done: boolean): TaskStatus {
    const { refusal, result, error } = state;
    if (refusal && (!refusal.isRetried || state.rev === null)) {
      return "refused";
    }
    if (result) {
      return "complete";
    }
    if (error) {
      return error.code === "JOB_LOST" ? "lost" : done ? "failed" : "interrupted";
    }
    if (state.stage !== null || state.progress || state.estimate) {
      return "running";
    }
    return this.#answered ? "waiting" : "connecting";
  }
}

/** That a job is lost is the server's word, and a reset need not be the job's. */
function isSignOfLife({ type, payload }: TaskMessage): boolean {
  return type !== "reset" && !(type === "error" && payload.code === "JOB_LOST");
}

function differs(a: TaskState, b: TaskState): boolean {
  return (Object.keys(a) as (keyof TaskState)[]).some((key) => a[key] !== b[key]);
}
