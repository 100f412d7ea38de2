const FIRST_MS = 1_000;
const BOUND_MS = 16_000;

/** Pauses between attempts: each drawn from zero to a bound that doubles ("full jitter"). */
export class Backoff {
  /** The attempts that were paused for. */
  _attempts = 0;

  /** The next pause in milliseconds: at most 1 s, then 2 s, 4 s, and so on up to 16 s. */
  _next(): number {
    return Math.random() * Math.min(FIRST_MS * 2 ** this._attempts++, BOUND_MS);
  }

  /** Begins again with the first pause. */
  _reset(): void {
    this._attempts = 0;
  }
}
