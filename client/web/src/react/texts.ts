import type { ConnectionStatus } from "../core/events.js";
import type { TaskStatus } from "../core/task-state.js";

/** All the words that the components say. */
export interface ProgressTexts {
  /** The progress bar's name for those who can't see it; the task's title follows. */
  readonly progress: string;
  /** What is said of a task in each status, beside its stage. */
  readonly status: Readonly<Record<TaskStatus, string>>;
  /** What is said of the connection. */
  readonly connection: Readonly<Record<ConnectionStatus, string>>;
  /** What is said when a task can't be shown, by the server's code; `other` for all others. */
  readonly refusal: Readonly<Record<string, string>> & { readonly other: string };
  /** The button that tries again to show a task. */
  readonly retry: string;
  /** What is said of a state that may be out of date. */
  readonly stale: string;
  /** The link to the result. */
  readonly result: string;
  /** The name of the list of stages for those who can't see it. */
  readonly stages: string;
  /** A stage's name, from what the job calls it. */
  readonly stage: (stage: string) => string;
  /** A percentage, from 0 to 100. */
  readonly percentage: (percentage: number) => string;
  /** The remaining time, in seconds, rounded. */
  readonly remaining: (seconds: number) => string;
  /** What is said when the time that was expected is over. */
  readonly overdue: string;
  /** When the job last told anything, in seconds ago, rounded to minutes. */
  readonly lastSeen: (seconds: number) => string;
  /** The announcement of a stage. */
  readonly announceStage: (stage: string) => string;
  /** The announcement of a quarter mark: 25, 50 or 75. */
  readonly announceQuarter: (percentage: number) => string;
}

/** Some of the words: those left out, at any depth, are `defaultTexts`. */
export type SomeProgressTexts = {
  readonly [Name in keyof ProgressTexts]?: ProgressTexts[Name] extends Readonly<
    Record<string, string>
  >
    ? Partial<ProgressTexts[Name]>
    : ProgressTexts[Name];
};

/** The words in English. */
export const defaultTexts: ProgressTexts = {
  progress: "Progress",
  status: {
    connecting: "Connecting…",
    waiting: "Not started yet",
    running: "In progress",
    interrupted: "Interrupted; it may go on",
    lost: "No sign of life from the job; it may go on",
    complete: "Complete",
    failed: "Failed",
    refused: "This can’t be shown",
  },
  connection: {
    idle: "",
    live: "Live",
    reconnecting: "Connecting…",
    polling: "Updates every few seconds",
    offline: "Offline; trying again",
  },
  refusal: {
    FORBIDDEN: "You may not see the progress of this task.",
    UNAUTHORIZED: "Your permission to see this has run out or isn’t accepted.",
    TOKEN_FAILED: "The page couldn’t get permission to show this.",
    ORIGIN_NOT_ALLOWED: "The server doesn’t show anything on this page.",
    INVALID_TASK_ID: "There can be no task of this name.",
    other: "The server doesn’t show this task.",
  },
  retry: "Try again",
  stale: "May be out of date",
  result: "Open the result",
  stages: "Stages",
  stage: (stage) => {
    const words = stage.replace(/[_-]+/g, " ").trim();
    return words.charAt(0).toUpperCase() + words.slice(1);
  },
  percentage: (percentage) => `${Math.floor(percentage)}%`,
  remaining: (seconds) => `About ${duration(seconds)} left`,
  overdue: "Takes longer than expected",
  lastSeen: (seconds) => `Last update ${duration(seconds)} ago`,
  announceStage: (stage) => `Now: ${stage}`,
  announceQuarter: (percentage) => `${percentage}% done`,
};

/** All words, with some put in the place of the default ones. */
export function mergeTexts(some: SomeProgressTexts = {}): ProgressTexts {
  const merged: Record<string, unknown> = { ...defaultTexts };
  for (const [name, text] of Object.entries(some)) {
    if (text !== undefined) {
      merged[name] = typeof text === "object" ? { ...(merged[name] as object), ...text } : text;
    }
  }
  return merged as unknown as ProgressTexts;
}

function duration(seconds: number): string {
  if (seconds < 60) {
    return `${seconds} s`;
  }
  const minutes = Math.round(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (hours === 0) {
    return `${minutes} min`;
  }
  return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
}
