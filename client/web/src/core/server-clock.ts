/**
 * Tells when messages were made, by this machine's clock. Their `n` is that time in microseconds by
 * the server's; how far the two clocks are apart shows when a message comes as it is made.
 */
export class ServerClock {
  /** This machine's time minus the server's, in milliseconds. */
  #offset = 0;

  /** A message came as it was made: now. Returns when that is, in milliseconds since 1970. */
  _madeNow(n: number): number {
    const now = Date.now();
    this.#offset = now - n / 1000;
    return now;
  }

  /** When a message was made that may have waited since: not later than now. */
  _madeAt(n: number): number {
    return Math.min(Date.now(), n / 1000 + this.#offset);
  }
}
