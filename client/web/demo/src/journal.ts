import type { Problem, ProgressClient, ProgressEvents } from "@progressd/client";

const ENTRIES_MAX = 200;

/** Something that the client told of. */
export interface JournalEntry {
  readonly id: number;
  readonly at: Date;
  readonly type: keyof ProgressEvents;
  /** The task that it is about; left out if it is about all of them. */
  readonly taskId?: string | undefined;
  readonly text: string;
}

/** The latest events of a client, newest first. */
export class Journal {
  #entries: readonly JournalEntry[] = [];
  #written = 0;
  readonly #listeners = new Set<() => void>();

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

  get entries(): readonly JournalEntry[] {
    return this.#entries;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #write(type: string, text: string, taskId?: string): void {
    const entry = {
      id: this.#written++,
      at: new Date(),
      type: type as JournalEntry["type"],
      taskId,
      text,
    };
    this.#entries = [entry, ...this.#entries].slice(0, ENTRIES_MAX);
    this.#listeners.forEach((listener) => listener());
  }
}

function describe({ code, message }: Problem): string {
  return `${code}: ${message}`;
}
