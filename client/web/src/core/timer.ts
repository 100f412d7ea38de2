/** One timeout at a time: setting it again takes the place of what was set. */
export class Timer {
  #handle: ReturnType<typeof setTimeout> | undefined;

  /** Calls back once, `ms` milliseconds from now. */
  _set(ms: number, callback: () => void): void {
    this._clear();
    this.#handle = setTimeout(() => {
      this.#handle = undefined;
      callback();
    }, ms);
  }

  /** Doesn't call back any more. */
  _clear(): void {
    clearTimeout(this.#handle);
    this.#handle = undefined;
  }

  /** Will call back. */
  get _running(): boolean {
    return this.#handle !== undefined;
  }
}
