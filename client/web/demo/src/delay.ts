import { useEffect, useReducer, useRef } from "react";
import type { TaskProgressState } from "@progressd/client/react";

const KEPT = 100;

/** How long the latest changes took from being published to being seen, in milliseconds. */
export interface Delay {
  readonly last: number;
  readonly median: number;
  readonly worst: number;
}

/**
 * Measures how long a task's changes take from the job to the eye; null before the first.
 *
 * The `n` of a rev is the time of its publication in microseconds, by the clock of Redis; a change
 * is seen with the next frame. What was published before this page began to watch, while it had no
 * connection, or while nobody could see it says nothing, and isn't counted.
 */
export function useDelay({ taskId, rev, connection }: TaskProgressState): Delay | null {
  const [delays, take] = useReducer(
    (before: readonly number[], delay: number) => [...before, delay].slice(-KEPT),
    [],
  );
  const watchedSince = useRef(Infinity);
  useEffect(() => {
    watchedSince.current = Date.now();
  }, [taskId, connection]);
  useEffect(() => {
    const publishedAt = publicationOf(rev);
    if (document.hidden || publishedAt < watchedSince.current) {
      return;
    }
    const frame = requestAnimationFrame(() => take(Date.now() - publishedAt));
    return () => cancelAnimationFrame(frame);
  }, [rev]);
  if (delays.length === 0) {
    return null;
  }
  const sorted = delays.toSorted((a, b) => a - b);
  return {
    last: delays.at(-1)!,
    median: sorted[sorted.length >> 1]!,
    worst: sorted.at(-1)!,
  };
}

/** When a rev was published, in milliseconds since 1970. */
function publicationOf(rev: string | null): number {
  return rev === null ? -Infinity : Number(rev.slice(rev.indexOf("-") + 1)) / 1000;
}
