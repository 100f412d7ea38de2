/**
 * Keeps a WebSocket connection for as long as one is wanted.
 *
 * A lost connection is tried for again after a pause: at most 5 times, from 1 s, doubling, with
 * full jitter. Then it counts as blocked, and is tried for every 60 s. One that has not been of use
 * yet is slow after an attempt in vain, or after 1.5 s: nobody should wait for it with an empty page.
 * `confirm()` says that a connection is of use; when it has been for 10 s, the 5 attempts are there again, so that a server
 * that takes connections only to drop them isn't run down.
 */
import type { ClientMessage } from "./protocol.js";
import { Backoff } from "./backoff.js";
import { ABNORMAL, Socket } from "./socket.js";
import type { SocketEvents, WebSocketLike } from "./socket.js";
import { Timer } from "./timer.js";

const ATTEMPTS_MAX = 5;
const BLOCKED_PAUSE_MS = 60_000;
const STABLE_MS = 10_000;
const SLOW_MS = 1_500;
const AFTER_MAX_MS = 600_000;

/** `blocked`: WebSocket doesn't seem to get through; `off`: not wanted. */
export type Phase = "off" | "connecting" | "live" | "blocked";

export class Connection {
  _phase: Phase = "off";
  #socket: Socket | null = null;
  /** When the server wants it back, as it said before it closes. */
  #returnAt: number | null = null;
  /** The pause is one that the server asked for. */
  #toldToWait = false;
  /** What has to be there before it connects again. */
  #awaited: Promise<void> | null = null;
  readonly #backoff = new Backoff();
  readonly #pause = new Timer();
  readonly #stable = new Timer();
  readonly #slow = new Timer();
  #isSlow = false;

  /**
   * @param _open begins to connect; it may throw
   * @param _events what each socket tells; `onClosed` comes when the next phase has begun
   */
  constructor(
    private readonly _open: () => WebSocketLike,
    private readonly _events: SocketEvents & {
      /** There is no connection of use yet, although there should be. */
      _onChange(): void;
    },
  ) {}

  /** It is blocked, or the first connection takes its time. */
  get _isLate(): boolean {
    return this._phase === "blocked" || (this.#isSlow && this._phase === "connecting");
  }

  /**
   * A connection is wanted.
   *
   * @param isBlocked it is known to be blocked
   */
  _start(isBlocked: boolean): void {
    this.#backoff._reset();
    this.#isSlow = false;
    if (isBlocked) {
      this._phase = "blocked";
      this.#pause._set(BLOCKED_PAUSE_MS, () => this.#connect());
    } else {
      this._phase = "connecting";
      this.#slow._set(SLOW_MS, () => {
        this.#isSlow = true;
        this._events._onChange();
      });
      this.#connect();
    }
  }

  /** None is wanted any more: closes it. No event follows. */
  _stop(): void {
    this.#pause._clear();
    this.#stable._clear();
    this.#slow._clear();
    this.#socket?._close();
    this.#socket = null;
    this.#returnAt = null;
    this.#awaited = null;
    this._phase = "off";
  }

  _send(message: ClientMessage): void {
    this.#socket?._send(message);
  }

  /** Doesn't connect again before the promise is fulfilled, which must not be rejected. */
  _waitFor(awaited: Promise<void>): void {
    this.#awaited = awaited;
  }

  /** The connection leaves requests without an answer: takes another one. */
  _replace(): void {
    this.#socket?._giveUp("NO_ANSWER");
  }

  /** The server serves what the connection is for. */
  _confirm(): void {
    if (this.#socket) {
      this.#stable._set(STABLE_MS, () => this.#backoff._reset());
      this.#slow._clear();
      this.#isSlow = false;
      this._phase = "live";
    }
  }

  /** The server will close the connection, and wants it back `afterMs` milliseconds from now. */
  _stayAwayFor(afterMs: number): void {
    this.#returnAt = Date.now() + Math.min(afterMs, AFTER_MAX_MS);
  }

  /**
   * Something happened that may have cut a connection or made one possible: checks it, or tries
   * for one at once, unless the server asked for a pause.
   *
   * @param again all attempts are there again
   */
  _wake(again: boolean): void {
    if (again && this._phase !== "blocked") {
      this.#backoff._reset();
    }
    this.#socket?._check();
    if (this.#pause._running && !this.#toldToWait) {
      this.#pause._clear();
      this.#connect();
    }
  }

  #connect(): void {
    const awaited = this.#awaited;
    if (awaited) {
      void awaited.then(() => {
        if (this.#awaited === awaited) {
          this.#awaited = null;
          this.#connect();
        }
      });
      return;
    }
    try {
      this.#socket = new Socket(this._open(), {
        ...this._events,
        _onClosed: (code) => this.#closed(code),
      });
    } catch (cause) {
      this.#closed(ABNORMAL, cause);
    }
  }

  #closed(code: number, cause?: unknown): void {
    this.#socket = null;
    this.#stable._clear();
    this.#isSlow ||= this.#slow._running;
    this.#slow._clear();
    const toldMs = this.#returnAt === null ? null : Math.max(0, this.#returnAt - Date.now());
    this.#returnAt = null;
    this.#toldToWait = toldMs !== null;
    const isBlocked = toldMs === null && this.#backoff._attempts >= ATTEMPTS_MAX;
    this._phase = isBlocked ? "blocked" : "connecting";
    const pause = isBlocked ? BLOCKED_PAUSE_MS : (toldMs ?? 0) + this.#backoff._next();
    this.#pause._set(pause, () => this.#connect());
    this._events._onClosed(code, cause);
  }
}
