import { Timer } from "./timer.js";

const PING_EVERY_MS = 30_000;
const PONG_WITHIN_MS = 10_000;

/** Finds out whether the other end still lives: a ping now and then, each to be answered by a pong. */
export class Heartbeat {
  readonly #ping = new Timer();
  readonly #pong = new Timer();

  /**
   * @param _sendPing sends a ping with a timestamp, in milliseconds since 1970
   * @param _onDead no pong came within 10 s; the heartbeat has stopped
   */
  constructor(
    private readonly _sendPing: (timestamp: number) => void,
    private readonly _onDead: () => void,
  ) {}

  /** Begins: the first ping goes out 30 s from now. */
  _start(): void {
    this.#ping._set(PING_EVERY_MS, () => this._check());
  }

  /** Pings now, unless a pong is being waited for. */
  _check(): void {
    this._start();
    if (this.#pong._running) {
      return;
    }
    this.#pong._set(PONG_WITHIN_MS, () => {
      this._stop();
      this._onDead();
    });
    this._sendPing(Date.now());
  }

  /** A pong came. */
  _pong(): void {
    this.#pong._clear();
  }

  _stop(): void {
    this.#ping._clear();
    this.#pong._clear();
  }
}
