/** The watched tasks: who watches, what is known, and the events that tell of changes. */
import type { StageEntry } from "./protocol.js";
import type { Emit } from "./events.js";
import type { TaskMessage } from "./message.js";
import type { TaskListeners, TaskState } from "./task-state.js";
import { Task } from "./task.js";

/** The event of each type of message; a `stage_change` has told of itself as a new stage. */
const EVENTS = {
  progress_update: "ProgressUpdated",
  time_estimate: "TimeEstimateUpdated",
  complete: "ProgressCompleted",
  error: "ProgressFailed",
  reset: "ProgressReset",
  stage_change: null,
} as const;

export class Tasks {
  readonly #tasks = new Map<string, Task>();

  constructor(private readonly emit: Emit) {}

  get(taskId: string): Task | undefined {
    return this.#tasks.get(taskId);
  }

  /** All that are watched. */
  ids(): readonly string[] {
    return [...this.#tasks.keys()];
  }

  /** Those about which something is yet to be learnt. */
  unsettled(): readonly string[] {
    return this.ids().filter((taskId) => !this.#tasks.get(taskId)!.settled);
  }

  /** One more watches the task; it is told of the result or the failure that is known already. */
  watch(taskId: string, watcher: TaskListeners): void {
    const task = this.#tasks.get(taskId) ?? new Task(taskId);
    this.#tasks.set(taskId, task);
    task.watchers.add(watcher);
    tellOutcome(watcher, task.state);
  }

  /** Forgets a task. */
  forget(taskId: string): void {
    this.#tasks.delete(taskId);
  }

  /** Takes a message; false if nobody watches its task. */
  receive(message: TaskMessage): boolean {
    return this.change(message.taskId, (task) => {
      const before = task.state;
      if (task.receive(message)) {
        this.#tell(message, before, task.state);
      }
    });
  }

  /** Takes the head of an answer about a task: see `Task.answered`. */
  answered(taskId: string, rev: string | null, stages: readonly StageEntry[]): void {
    this.change(taskId, (task) => {
      if (task.answered(rev, stages)) {
        this.emit("ProgressReset", { taskId, state: task.state });
      }
    });
  }

  /** Changes a task, and tells if its state is another then; false if nobody watches it. */
  change(taskId: string, change: (task: Task) => void): boolean {
    const task = this.#tasks.get(taskId);
    const before = task?.state;
    if (task) {
      change(task);
      if (task.state !== before) {
        this.#changed(task, before!);
      }
    }
    return task !== undefined;
  }

  #changed({ state, watchers }: Task, before: TaskState): void {
    this.emit("TaskChanged", state);
    for (const watcher of [...watchers]) {
      tell(() => watcher.onChange?.(state));
      tellOutcome(watcher, state, before);
    }
  }

  /** The events of a message that was taken. */
  #tell(message: TaskMessage, before: TaskState, state: TaskState): void {
    const { taskId } = state;
    const { emit } = this;
    if (message.type === "stage_change" || (state.stage !== before.stage && state.stage !== null)) {
      const payload = { fromStage: before.stage, toStage: state.stage! };
      emit("StageChanged", { taskId, payload, state });
    }
    const event = EVENTS[message.type];
    if (event) {
      emit(event, { taskId, payload: message.payload as never, state });
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
