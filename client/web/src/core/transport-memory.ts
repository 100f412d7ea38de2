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
    return Date.now() - Number(this.#storage?.getItem(this.#key)) < REMEMBERED_MS;
  }

  set _isBlocked(isBlocked: boolean) {
    try {
      if (isBlocked) {
        this.#storage?.setItem(this.#key, String(Date.now()));
      } else {
        this.#storage?.removeItem(this.#key);
      }
    } catch {
      // It is full: then it is found out again.
    }
  }

  /** None in Node and in workers, nor where the user forbids it. */
  get #storage(): Storage | null {
    try {
      return (globalThis as { document?: unknown }).document ? globalThis.sessionStorage : null;
    } catch {
      return null;
    }
  }
}
