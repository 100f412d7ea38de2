/**
 * An estimate that doesn't jump about: what jobs estimate is noisy, and people take a number that
 * leaps for a lie. New estimates move the expected end only part of the way, the more the surer
 * they are; and it is shown in steps that get finer towards the end. When the end has passed, that
 * is said instead.
 */
import type { TimeEstimate } from "../core/task-state.js";

const LEAST_WEIGHT = 0.1;
const OVERDUE_AFTER_S = 5;

/** The remaining time in seconds, rounded; `overdue` when it takes longer; null while unknown. */
export type Remaining = number | "overdue" | null;

/** One task's remaining time. Taking or showing the same again changes nothing. */
export class Countdown {
  #estimate: TimeEstimate | null = null;
  #end: number | null = null;
  #shown: number | null = null;

  take(estimate: TimeEstimate | null): void {
    if (estimate !== this.#estimate) {
      this.#estimate = estimate;
      this.#end = estimate && expectedEnd(this.#end, estimate);
    }
  }

  /** What to show at a time, in milliseconds since 1970. */
  at(now: number): Remaining {
    const seconds = this.#end === null ? null : (this.#end - now) / 1000;
    const isOverdue = seconds !== null && seconds < -OVERDUE_AFTER_S;
    this.#shown =
      seconds === null || isOverdue ? null : shownSeconds(this.#shown, Math.max(0, seconds));
    return isOverdue ? "overdue" : this.#shown;
  }
}

/** When the task is expected to end, in milliseconds since 1970, from when it was so far. */
export function expectedEnd(soFar: number | null, estimate: TimeEstimate): number {
  const end = estimate.madeAt + estimate.seconds * 1000;
  const weight = LEAST_WEIGHT + (1 - LEAST_WEIGHT) * estimate.confidence ** 2;
  return soFar === null ? end : soFar + (end - soFar) * weight;
}

/** The step, in seconds, in which so many seconds are shown. */
function stepOf(seconds: number): number {
  return seconds < 60 ? 5 : seconds < 600 ? 60 : seconds < 3600 ? 300 : 900;
}

/**
 * What to show of the remaining time, in seconds, from what is shown: that stays while it is no
 * more than a step and a half too much or a step too little, so that it doesn't flicker between
 * two steps. Never less than a step.
 */
export function shownSeconds(shown: number | null, seconds: number): number {
  const step = stepOf(seconds);
  const tooMuch = shown === null ? Infinity : shown - seconds;
  return tooMuch >= -step && tooMuch <= 1.5 * step && shown !== null
    ? shown
    : Math.max(step, Math.ceil(seconds / step) * step);
}
