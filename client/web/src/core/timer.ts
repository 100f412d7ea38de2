/** One timeout at a time: setting it again takes the place of what was set. */
export class Timer {
  #handle: ReturnType<typeof setTimeout> | undefined;

  /** Calls back once, `ms` milliseconds from now. */
  set(ms: number, callback: () => void): void {
    this.clear();
    this.#handle = setTimeout(() => {
      this.#handle = undefined;
      callback();
    }, ms);
  }

  /** Doesn't call back any more. */
  clear(): void {
    clearTimeout(this.#handle);
    this.#handle = undefined;
  }

  /** Will call back. */
  get running(): boolean {
    return this.#handle !== undefined;
  }
}
