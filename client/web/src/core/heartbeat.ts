import { Timer } from "./timer.js";

const PING_EVERY_MS = 30_000;
const PONG_WITHIN_MS = 10_000;

/** Finds out whether the other end still lives: a ping now and then, each to be answered by a pong. */
export class Heartbeat {
  readonly #ping = new Timer();
  readonly #pong = new Timer();

  /**
   * @param sendPing sends a ping with a timestamp, in milliseconds since 1970
   * @param onDead no pong came within 10 s; the heartbeat has stopped
   */
  constructor(
    private readonly sendPing: (timestamp: number) => void,
    private readonly onDead: () => void,
  ) {}

  /** Begins: the first ping goes out 30 s from now. */
  start(): void {
    this.#ping.set(PING_EVERY_MS, () => this.check());
  }

  /** Pings now, unless a pong is being waited for. */
  check(): void {
    this.start();
    if (this.#pong.running) {
      return;
    }
    this.#pong.set(PONG_WITHIN_MS, () => {
      this.stop();
      this.onDead();
    });
    this.sendPing(Date.now());
  }

  /** A pong came. */
  pong(): void {
    this.#pong.clear();
  }

  stop(): void {
    this.#ping.clear();
    this.#pong.clear();
  }
}
