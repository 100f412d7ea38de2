/** The watched tasks: who watches, what is known, and the events that tell of changes. */
import type { Emit } from "./events.js";
import type { TaskMessage } from "./message.js";
import type { PolledState } from "./poll.js";
import { parseRev } from "./rev.js";
import { ServerClock } from "./server-clock.js";
import type { TaskListeners, TaskState } from "./task-state.js";
import { Task } from "./task.js";
import type { TaskNews } from "./task.js";

/** The event of each type of message; a stage and a new beginning are told of apart from it. */
const EVENTS = {
  progress_update: "ProgressUpdated",
  time_estimate: "TimeEstimateUpdated",
  complete: "ProgressCompleted",
  error: "ProgressFailed",
} as const;

export class Tasks {
  readonly #tasks = new Map<string, Task>();
  readonly #clock = new ServerClock();
  #unsettled = 0;

  /**
   * @param _emit takes the events
   * @param _onSettled a task has come to its end, or goes on after it
   */
  constructor(
    private readonly _emit: Emit,
    private readonly _onSettled: () => void,
  ) {}

  _get(taskId: string): Task | undefined {
    return this.#tasks.get(taskId);
  }

  /** All that are watched. */
  _ids(): readonly string[] {
    return [...this.#tasks.keys()];
  }

  /** Those about which something is yet to be learnt. */
  _unsettled(): readonly string[] {
    return this.#unsettled === 0
      ? []
      : this._ids().filter((taskId) => !this.#tasks.get(taskId)!._settled);
  }

  /** One more watches the task; it is told of the result or the failure that is known already. */
  _watch(taskId: string, watcher: TaskListeners): void {
    let task = this.#tasks.get(taskId);
    if (!task) {
      task = new Task(taskId, () => this._change(taskId, () => {}));
      this.#tasks.set(taskId, task);
      this.#unsettled++;
    }
    task._watchers.add(watcher);
    tellOutcome(watcher, task._state);
  }

  /** Forgets a task. */
  _forget(taskId: string): void {
    const task = this.#tasks.get(taskId);
    if (task) {
      task._close();
      this.#unsettled -= Number(!task._settled);
      this.#tasks.delete(taskId);
    }
  }

  /** Takes a message; false if nobody watches its task. */
  _receive(message: TaskMessage): boolean {
    return this._change(message.taskId, (task) => this.#receive(task, message, task._isArriving));
  }

  /** Takes a whole answer about a task: see `Task.answered`. */
  _polled(taskId: string, answer: PolledState | null, isNewest: boolean): void {
    this._change(taskId, (task) => {
      if (task._answered(answer?._rev ?? null, answer?._stages ?? [], isNewest) && answer) {
        answer._messages.forEach((message) => this.#receive(task, message, true));
        task._arrived(answer._rev);
      }
    });
  }

  /** Changes a task, and tells of what is another then; false if nobody watches it. */
  _change(taskId: string, change: (task: Task) => void): boolean {
    const task = this.#tasks.get(taskId);
    if (!task) {
      return false;
    }
    const { _state: before, _settled: settled } = task;
    change(task);
    const news = task._show();
    const isOther = task._settled !== settled;
    this.#unsettled += isOther ? (settled ? 1 : -1) : 0;
    this.#tell(news, before, task);
    if (isOther) {
      this._onSettled();
    }
    return true;
  }

  #receive(task: Task, message: TaskMessage, isPast: boolean): void {
    const n = parseRev(message.rev)?._n ?? 0;
    task._receive(message, isPast ? this.#clock._madeAt(n) : this.#clock._madeNow(n));
  }

  #tell(
    { _messages: messages, _begins: begins }: TaskNews,
    before: TaskState,
    { _state: state, _watchers: watchers }: Task,
  ): void {
    if (state === before) {
      return;
    }
    const { taskId, stage } = state;
    const { _emit: emit } = this;
    const isNewStage = stage !== null && stage !== before.stage;
    if (begins) {
      emit("ProgressReset", { taskId, state });
    }
    if (isNewStage || messages.some(({ type }) => type === "stage_change")) {
      const payload = { fromStage: begins ? null : before.stage, toStage: stage! };
      emit("StageChanged", { taskId, payload, state });
    }
    for (const { type, payload } of messages) {
      if (type !== "stage_change" && type !== "reset") {
        emit(EVENTS[type], { taskId, payload: payload as never, state });
      }
    }
    emit("TaskChanged", state);
    for (const watcher of [...watchers]) {
      tell(() => watcher.onChange?.(state));
      tellOutcome(watcher, state, before);
    }
  }
}

/** Tells of a result or a failure that wasn't there before. */
function tellOutcome(watcher: TaskListeners, state: TaskState, before?: TaskState): void {
  const { result, error } = state;
  if (result && result !== before?.result) {
    tell(() => watcher.onComplete?.(result, state));
  }
  if (error && error !== before?.error) {
    tell(() => watcher.onError?.(error, state));
  }
}

/** What a listener throws is its own affair, as it is of an event's. */
function tell(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
