import type { Problem, ProgressClient, ProgressEvents } from "@progressd/client";

const ENTRIES_MAX = 40;

/** Something that the client told of. */
export interface JournalEntry {
  readonly id: number;
  readonly at: Date;
  readonly type: keyof ProgressEvents;
  /** The task that it is about; left out if it is about all of them. */
  readonly taskId?: string | undefined;
  readonly text: string;
}

/** The latest events of a client, newest first: for each task its own, and those about all. */
export class Journal {
  /** By task. A task that isn't here has had no event of its own. */
  readonly #entries = new Map<string, readonly JournalEntry[]>();
  /** Those about all tasks. */
  #common: readonly JournalEntry[] = [];
  #written = 0;
  /** By the task that each wants to hear of. */
  readonly #listeners = new Map<() => void, string>();

  constructor(client: ProgressClient) {
    client.addEventListener("ProgressUpdated", ({ type, detail: { taskId, payload } }) =>
      this.#write(type, `${payload.percentage} %, ${payload.stage}`, taskId),
    );
    client.addEventListener("StageChanged", ({ type, detail: { taskId, payload } }) =>
      this.#write(type, `${payload.fromStage ?? "start"} → ${payload.toStage}`, taskId),
    );
    client.addEventListener("TimeEstimateUpdated", ({ type, detail: { taskId, payload } }) => {
      const seconds = payload.estimatedTimeRemaining.toFixed(1);
      const confidence = Math.round(payload.confidence * 100);
      this.#write(type, `${seconds} s, ${confidence} % sure`, taskId);
    });
    client.addEventListener("ProgressCompleted", ({ type, detail: { taskId, payload } }) =>
      this.#write(type, `after ${payload.duration} s`, taskId),
    );
    client.addEventListener("ProgressFailed", ({ type, detail: { taskId, payload } }) =>
      this.#write(type, `${payload.code}${payload.retryable ? ", may go on" : ""}`, taskId),
    );
    client.addEventListener("ProgressReset", ({ type, detail: { taskId } }) =>
      this.#write(type, "a new run", taskId),
    );
    client.addEventListener("ConnectionChanged", ({ type, detail: { connection, previous } }) =>
      this.#write(type, `${previous} → ${connection}`),
    );
    client.addEventListener("ProblemReported", ({ type, detail }) =>
      this.#write(type, describe(detail), detail.taskId),
    );
  }

  /** The same list until there is another event. */
  entriesOf(taskId: string): readonly JournalEntry[] {
    return this.#entries.get(taskId) ?? this.#common;
  }

  /** Calls back at each event of the task; returns what ends that. */
  subscribe(taskId: string, listener: () => void): () => void {
    this.#listeners.set(listener, taskId);
    return () => this.#listeners.delete(listener);
  }

  #write(type: string, text: string, taskId?: string): void {
    const entry = {
      id: this.#written++,
      at: new Date(),
      type: type as JournalEntry["type"],
      taskId,
      text,
    };
    const withIt = (entries: readonly JournalEntry[]) => [entry, ...entries].slice(0, ENTRIES_MAX);
    for (const each of taskId === undefined ? this.#entries.keys() : [taskId]) {
      this.#entries.set(each, withIt(this.entriesOf(each)));
    }
    if (taskId === undefined) {
      this.#common = withIt(this.#common);
    }
    for (const [listener, listensTo] of this.#listeners) {
      if ((taskId ?? listensTo) === listensTo) {
        listener();
      }
    }
  }
}

function describe({ code, message }: Problem): string {
  return `${code}: ${message}`;
}
