/**
 * Many changes, one rendering: what is to be done at the next frame is done together, right before
 * the page is painted. Where nothing is painted, as in a hidden tab, it doesn't wait for long.
 */
const LATEST_MS = 250;

let due = new Set<() => void>();

/** Calls back at the next frame: once, however often it is asked to until then. */
export function atNextFrame(callback: () => void): void {
  due.add(callback);
  if (due.size === 1) {
    const frame = globalThis.requestAnimationFrame?.(run);
    const timer = setTimeout(run, LATEST_MS);
    function run(): void {
      clearTimeout(timer);
      if (frame !== undefined) {
        cancelAnimationFrame(frame);
      }
      const callbacks = due;
      due = new Set();
      callbacks.forEach((each) => each());
    }
  }
}

/** Doesn't call back any more. */
export function notAtNextFrame(callback: () => void): void {
  due.delete(callback);
}
