import { CLOSE_NORMAL } from "./protocol.js";
import type { ClientMessage } from "./protocol.js";
import { Heartbeat } from "./heartbeat.js";
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
  onOpen(): void;
  onMessage(message: Parsed): void;
  onProblem(problem: Problem): void;
  /** The last event: it is closed, or was given up; with a close code (RFC 6455, 7.4). */
  onClosed(code: number, cause?: unknown): void;
}

/** Closed without a close frame (RFC 6455, 7.1.5). */
export const ABNORMAL = 1006;
const ANSWER_WITHIN_MS = 10_000;

/** One WebSocket, from connecting to its end: text in, messages out, with a heartbeat. */
export class Socket {
  readonly #heartbeat = new Heartbeat(
    (timestamp) => this.send({ type: "ping", timestamp }),
    () => this.giveUp("NO_PONG", "no pong in 10 s"),
  );
  readonly #answer = new Timer();
  #open = false;
  #ended = false;

  /**
   * @param socket one that is connecting
   * @param events what it tells
   */
  constructor(
    private readonly socket: WebSocketLike,
    private readonly events: SocketEvents,
  ) {
    socket.onopen = () => {
      this.#open = true;
      this.#answer.clear();
      this.#heartbeat.start();
      events.onOpen();
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onerror = () => {}; // says nothing that onclose doesn't
    socket.onclose = ({ code }) => this.#end(typeof code === "number" ? code : ABNORMAL);
    this.#expectAnswer();
  }

  /** Sends a message, to which there must be an answer; does nothing while it isn't open. */
  send(message: ClientMessage): void {
    if (this.#open && !this.#ended) {
      this.#expectAnswer();
      try {
        this.socket.send(JSON.stringify(message));
      } catch {
        // It is closing, and will say so; or there is no answer in time.
      }
    }
  }

  /** Pings at once, to find out whether the server is still there. */
  check(): void {
    if (this.#open) {
      this.#heartbeat.check();
    }
  }

  /** Closes. No event follows. */
  close(): void {
    if (!this.#ended) {
      this.#detach();
      this.socket.close(CLOSE_NORMAL);
    }
  }

  /** It is of no use: closes it, and doesn't wait for a close handshake that may never come. */
  giveUp(code: Problem["code"], message: string): void {
    if (!this.#ended) {
      this.events.onProblem({ code, message });
      this.socket.close();
      this.#end(ABNORMAL);
    }
  }

  #receive(data: unknown): void {
    this.#answer.clear();
    const message = parseMessage(data);
    if ("pong" in message) {
      this.#heartbeat.pong();
    } else {
      this.events.onMessage(message);
    }
  }

  /** Is given up unless the server opens it, or says something, within 10 s. */
  #expectAnswer(): void {
    this.#answer.set(ANSWER_WITHIN_MS, () => this.giveUp("NO_ANSWER", "no answer in 10 s"));
  }

  #end(code: number): void {
    if (!this.#ended) {
      this.#detach();
      this.events.onClosed(code);
    }
  }

  #detach(): void {
    this.#ended = true;
    this.#heartbeat.stop();
    this.#answer.clear();
    const { socket } = this;
    socket.onopen = socket.onmessage = socket.onclose = null;
  }
}
