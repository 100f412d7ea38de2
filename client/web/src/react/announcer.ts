/**
 * What is told to those who can't see the bar: each stage, and the quarter marks, politely and at
 * most every 10 s, the newest of what came in between; the end at once.
 */
import type { TaskState } from "../core/task-state.js";
import type { ProgressTexts } from "./texts.js";

const PAUSE_MS = 10_000;

/** What is worth an announcement in a state. */
interface Mark {
  readonly stage: string | null;
  readonly quarter: number;
  readonly status: TaskState["status"];
}

export class Announcer {
  #mark: Mark | null = null;
  #spokenAt = -Infinity;
  #waiting: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param say takes what is to be said */
  constructor(private readonly say: (text: string) => void) {}

  /** Takes the task's state. The first one is not announced: it is what the page shows anyway. */
  take(state: TaskState, texts: ProgressTexts): void {
    const before = this.#mark;
    const now = (this.#mark = markOf(state));
    if (before === null || before.status === "connecting") {
      return;
    }
    const text = announcement(before, now, texts);
    if (text === null) {
      return;
    }
    this.#waiting = text;
    const isNews = now.status !== before.status && now.status !== "running";
    const pause = isNews ? 0 : this.#spokenAt + PAUSE_MS - Date.now();
    clearTimeout(this.#timer);
    if (pause <= 0) {
      this.#speak();
    } else {
      this.#timer = setTimeout(() => this.#speak(), pause);
    }
  }

  /** Says nothing more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#waiting = null;
  }

  #speak(): void {
    if (this.#waiting !== null) {
      this.#spokenAt = Date.now();
      this.say(this.#waiting);
      this.#waiting = null;
    }
  }
}

function markOf({ stage, percentage, status }: TaskState): Mark {
  return { stage, quarter: Math.floor((percentage ?? 0) / 25) * 25, status };
}

function announcement(before: Mark, now: Mark, texts: ProgressTexts): string | null {
  if (now.status !== before.status && now.status !== "running" && now.status !== "connecting") {
    return texts.status[now.status];
  }
  if (now.stage !== before.stage && now.stage !== null) {
    return texts.announceStage(texts.stage(now.stage));
  }
  return now.quarter > before.quarter ? texts.announceQuarter(now.quarter) : null;
}
