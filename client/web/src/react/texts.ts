import type { ConnectionStatus } from "../core/events.js";
import type { TaskStatus } from "../core/task-state.js";

/** All the words that the components say. */
export interface ProgressTexts {
  /** The progress bar's name for those who can't see it. */
  readonly progress: string;
  /** What is said of a task in each status, beside its stage. */
  readonly status: Readonly<Record<TaskStatus, string>>;
  /** What is said of the connection. */
  readonly connection: Readonly<Record<ConnectionStatus, string>>;
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
  /** The announcement of a stage. */
  readonly announceStage: (stage: string) => string;
  /** The announcement of a quarter mark: 25, 50 or 75. */
  readonly announceQuarter: (percentage: number) => string;
}

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
  stale: "May be out of date",
  result: "Open the result",
  stages: "Stages",
  stage: (stage) => {
    const words = stage.replace(/[_-]+/g, " ").trim();
    return words.charAt(0).toUpperCase() + words.slice(1);
  },
  percentage: (percentage) => `${Math.floor(percentage)}%`,
  remaining: (seconds) => {
    if (seconds < 60) {
      return `About ${seconds} s left`;
    }
    const minutes = Math.round(seconds / 60);
    const hours = Math.floor(minutes / 60);
    return hours === 0
      ? `About ${minutes} min left`
      : `About ${hours} h${minutes % 60 === 0 ? "" : ` ${minutes % 60} min`} left`;
  },
  announceStage: (stage) => `Now: ${stage}`,
  announceQuarter: (percentage) => `${percentage}% done`,
};
