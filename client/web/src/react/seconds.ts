import { useCallback, useSyncExternalStore } from "react";

const TICK_MS = 1_000;
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

/** Calls back every second, at the same time as all others who are called. */
function everySecond(callback: () => void): () => void {
  listeners.add(callback);
  timer ??= setInterval(() => listeners.forEach((listener) => listener()), TICK_MS);
  return () => {
    listeners.delete(callback);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/**
 * What is to be shown as time goes on; renders again only when that is another.
 *
 * @param look gives it, for a time in milliseconds since 1970
 * @param isTicking it may be another without anything else having changed
 */
export function useAsTimeGoesOn<Shown extends string | number | null>(
  look: (now: number) => Shown,
  isTicking: boolean,
): Shown {
  const watch = useCallback(
    (onChange: () => void) => (isTicking ? everySecond(onChange) : () => {}),
    [isTicking],
  );
  const now = () => look(Date.now());
  return useSyncExternalStore(watch, now, now);
}
