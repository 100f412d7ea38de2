import { CLOSE_NORMAL } from "./protocol.js";
import type { ClientMessage } from "./protocol.js";
import { parseMessage } from "./message.js";
import type { Parsed } from "./message.js";
import type { Problem } from "./problem.js";
import { Timer } from "./timer.js";

/** As much of the browser's `WebSocket` as the client uses; that of the package `ws` fits. */
export interface WebSocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** A class of such sockets. */
export type WebSocketConstructor = new (url: string) => WebSocketLike;

/** What a socket tells its owner. */
export interface SocketEvents {
  _onOpen(): void;
  _onMessage(message: Parsed): void;
  _onProblem(problem: Problem): void;
  /** The last event: it is closed, or was given up; with a close code (RFC 6455, 7.4). */
  _onClosed(code: number, cause?: unknown): void;
}

/** Closed without a close frame (RFC 6455, 7.1.5). */
export const ABNORMAL = 1006;
const PING_EVERY_MS = 30_000;
const ANSWER_WITHIN_MS = 10_000;

/** One WebSocket, from connecting to its end: text in, messages out, with a heartbeat. */
export class Socket {
  readonly #ping = new Timer();
  readonly #pong = new Timer();
  readonly #answer = new Timer();
  #isOpen = false;

  /**
   * @param _socket one that is connecting
   * @param _events what it tells
   */
  constructor(
    private readonly _socket: WebSocketLike,
    private readonly _events: SocketEvents,
  ) {
    _socket.onopen = () => {
      this.#isOpen = true;
      this.#answer._clear();
      this.#pingLater();
      _events._onOpen();
    };
    _socket.onmessage = ({ data }) => {
      this.#answer._clear();
      const message = parseMessage(data);
      if (message.pong) {
        this.#pong._clear();
      } else {
        _events._onMessage(message);
      }
    };
    _socket.onerror = () => {}; // says nothing that onclose doesn't
    _socket.onclose = ({ code }) => {
      this.#detach();
      _events._onClosed(code ?? ABNORMAL);
    };
    this.#expectAnswer();
  }

  /** Sends a message, to which there must be an answer; does nothing while it isn't open. */
  _send(message: ClientMessage): void {
    if (this.#isOpen) {
      this.#expectAnswer();
      try {
        this._socket.send(JSON.stringify(message));
      } catch {
        // It is closing, and will say so; or there is no answer in time.
      }
    }
  }

  /** Pings, unless a pong is being waited for, to find out whether the server is still there. */
  _check(): void {
    if (this.#isOpen) {
      this.#pingLater();
      if (!this.#pong._running) {
        this.#pong._set(ANSWER_WITHIN_MS, () => this._giveUp("NO_PONG"));
        this._send({ type: "ping", timestamp: Date.now() });
      }
    }
  }

  /** Closes. No event follows. */
  _close(): void {
    this.#detach();
    this._socket.close(CLOSE_NORMAL);
  }

  /** It is of no use: closes it, and doesn't wait for a close handshake that may never come. */
  _giveUp(code: Problem["code"]): void {
    this._events._onProblem({ code, message: "silent for 10 s" });
    const { onclose } = this._socket;
    if (onclose) {
      onclose({ code: ABNORMAL });
      this._socket.close();
    }
  }

  #pingLater(): void {
    this.#ping._set(PING_EVERY_MS, () => this._check());
  }

  /** Is given up unless the server opens it, or says something, within 10 s. */
  #expectAnswer(): void {
    this.#answer._set(ANSWER_WITHIN_MS, () => this._giveUp("NO_ANSWER"));
  }

  #detach(): void {
    this.#isOpen = false;
    for (const timer of [this.#ping, this.#pong, this.#answer]) {
      timer._clear();
    }
    const socket = this._socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
  }
}
