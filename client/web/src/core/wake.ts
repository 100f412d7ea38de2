const TICK_MS = 5_000;
const SLEPT_MS = 15_000;

/**
 * Notices when a connection that looks healthy may be dead: the network came back or went, the
 * page became visible, the machine woke from sleep (the clock jumped). Browsers and workers tell
 * what they can of it; where there are no such events, as in Node, only the clock is watched.
 *
 * @param onWake called at each of these; `online` when the network came back
 * @returns ends the watch
 */
export function watchForWaking(onWake: (online: boolean) => void): () => void {
  const listening = new AbortController();
  const { signal } = listening;
  // A worker has no document, Node no events at all.
  const { document } = globalThis as Partial<typeof globalThis>;
  const page = globalThis as Partial<EventTarget>;
  for (const type of ["online", "offline"]) {
    page.addEventListener?.(type, () => onWake(type === "online"), { signal });
  }
  const onVisibility = () => {
    if (document?.visibilityState === "visible") {
      onWake(false);
    }
  };
  document?.addEventListener("visibilitychange", onVisibility, { signal });
  let last = Date.now();
  const tick = setInterval(() => {
    const slept = Date.now() - last > SLEPT_MS;
    last = Date.now();
    if (slept) {
      onWake(false);
    }
  }, TICK_MS);
  return () => {
    clearInterval(tick);
    listening.abort();
  };
}

/** The browser knows that it has no network. */
export function isOffline(): boolean {
  return (globalThis.navigator as Navigator | undefined)?.onLine === false;
}
