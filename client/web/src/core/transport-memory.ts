/**
 * Remembers for ten minutes that WebSocket doesn't get through to a broker where polling does, also
 * for the next page in the same tab: so that each page needn't find it out again.
 */
const REMEMBERED_MS = 600_000;

export class TransportMemory {
  readonly #key: string;

  /** @param address where WebSocket connects to */
  constructor(address: string) {
    this.#key = `progressd no WebSocket: ${address}`;
  }

  /** WebSocket didn't get through lately. */
  get _isBlocked(): boolean {
    const since = this.#stored((storage) => storage.getItem(this.#key));
    return Date.now() - Number(since) < REMEMBERED_MS;
  }

  set _isBlocked(isBlocked: boolean) {
    this.#stored((storage) =>
      isBlocked ? storage.setItem(this.#key, String(Date.now())) : storage.removeItem(this.#key),
    );
  }

  /** Uses the tab's storage; none in Node and in workers, nor where it is full or forbidden. */
  #stored<Result>(use: (storage: Storage) => Result): Result | null {
    try {
      return (globalThis as { document?: unknown }).document
        ? use(globalThis.sessionStorage)
        : null;
    } catch {
      return null;
    }
  }
}
