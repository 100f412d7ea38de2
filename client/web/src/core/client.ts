import { CLOSE_FORBIDDEN, CLOSE_UNAUTHORIZED } from "./protocol.js";
import { Connection } from "./connection.js";
import { stateUrl, webSocketUrl } from "./endpoint.js";
import { ProgressEventTarget } from "./events.js";
import type { ConnectionStatus, Emit } from "./events.js";
import { readStages } from "./message.js";
import type { Parsed, ServerMessage } from "./message.js";
import type { Fetch, PolledState } from "./poll.js";
import { Poller } from "./poller.js";
import type { Problem } from "./problem.js";
import type { WebSocketConstructor } from "./socket.js";
import { Subscriptions } from "./subscriptions.js";
import { isTaskId } from "./task-id.js";
import type { TaskListeners, TaskState } from "./task-state.js";
import { Tasks } from "./tasks.js";
import type { TokenProvider } from "./tokens.js";
import { Tokens } from "./tokens.js";
import { isOffline, watchForWaking } from "./wake.js";
import { TransportMemory } from "./transport-memory.js";
import { Warnings } from "./warnings.js";

/** A task that nobody watches any more is kept for this long, in case somebody comes back. */
const LINGER_MS = 1_000;

/** How to reach the broker. */
export interface ProgressClientOptions {
  /**
   * The broker's address, such as `https://progress.example.com`; with a path if it lies below one.
   * The page's own origin if left out.
   */
  readonly url?: string | URL;
  /** Gives tokens. Called when there is none for a task, or when one is about to expire. */
  readonly token: TokenProvider;
  /** Ends all, as `disconnect()` does, when it is aborted. */
  readonly signal?: AbortSignal;
  /** The class to connect with, where there is no global one: in Node 20 that of the package `ws`. */
  readonly WebSocket?: WebSocketConstructor;
  /** What to poll with instead of the global `fetch`. */
  readonly fetch?: Fetch;
}

/** What is told to one who watches a task, and until when. */
export interface SubscribeOptions extends TaskListeners {
  /** Stops watching when it is aborted. */
  readonly signal?: AbortSignal;
}

/**
 * Watches any number of tasks over one connection, and tells of their progress.
 *
 * It connects when a task is subscribed to, reconnects when the connection is lost, polls where
 * WebSocket doesn't get through, and closes when all tasks have ended. Nothing that a server or a
 * network does makes it throw; `ProblemReported` tells of it.
 */
export class ProgressClient extends ProgressEventTarget {
  readonly #tokens: Tokens;
  readonly #tasks: Tasks;
  readonly #connection: Connection;
  readonly #subscriptions: Subscriptions;
  readonly #poller: Poller;
  readonly #warnings = new Warnings();
  readonly #memory: TransportMemory;
  #stopWaking: (() => void) | null = null;
  #enabled = true;
  #status: ConnectionStatus = "idle";

  constructor(options: ProgressClientOptions) {
    super();
    const { url = "/" } = options;
    this.#memory = new TransportMemory(String(url));
    const tokens = (this.#tokens = new Tokens(options.token));
    const owner = {
      _tokens: tokens,
      _revOf: (taskId: string) => this.#tasks._get(taskId)?._state.rev ?? null,
      _onProblem: (problem: Problem) => this.#report(problem),
      _onChange: () => this.#update(),
      _onRefused: (taskId: string, code: string, message: string, isRetried: boolean) =>
        this.#tasks._change(taskId, (task) => task._refuse({ code, message, isRetried })),
    };
    this.#tasks = new Tasks(this.#emit, owner._onChange);
    this.#connection = new Connection(
      () => new (options.WebSocket ?? globalThis.WebSocket)(webSocketUrl(url)),
      {
        ...owner,
        _onOpen: () => this.#subscriptions._opened(this.#tasks._ids()),
        _onMessage: (message) => this.#received(message),
        _onClosed: (code, cause) => this.#closed(code, cause),
      },
    );
    this.#subscriptions = new Subscriptions({
      ...owner,
      _send: (message) => this.#connection._send(message),
      _onUnanswered: () => this.#connection._replace(),
    });
    this.#poller = new Poller({
      ...owner,
      _ask: (taskId, init) => (options.fetch ?? globalThis.fetch)(stateUrl(url, taskId), init),
      _onAnswer: (taskId, answer, isNewest) => this.#polled(taskId, answer, isNewest),
      _onFailed: (taskId) => {
        this.#tasks._change(taskId, (task) => task._unconfirm());
        this.#update();
      },
    });
    const { signal } = options;
    if (signal?.aborted) {
      this.disconnect();
    }
    signal?.addEventListener("abort", () => this.disconnect(), { once: true });
  }

  /** How the client stands with the server. */
  get connection(): ConnectionStatus {
    return this.#status;
  }

  /**
   * Watches a task, and connects if need be. Several may watch the same task; it is one
   * subscription.
   *
   * @param taskId the task; one that is no task id is `refused` with `INVALID_TASK_ID`
   * @param options what to call when the task changes, and a signal that ends it
   * @returns stops watching; calling it again does nothing
   */
  subscribe(taskId: string, options: SubscribeOptions = {}): () => void {
    const { signal } = options;
    if (signal?.aborted) {
      return () => {};
    }
    const watcher = { ...options }; // the same options may be given twice
    this.#tasks._watch(taskId, watcher);
    if (isTaskId(taskId)) {
      this.#subscriptions._add(taskId);
    } else {
      const refusal = { code: "INVALID_TASK_ID", message: "not a task id" };
      this.#tasks._change(taskId, (task) => task._refuse(refusal));
    }
    this.#update();
    const stop = () => {
      signal?.removeEventListener("abort", stop);
      if (this.#tasks._get(taskId)?._watchers.delete(watcher)) {
        setTimeout(() => this.#forget(taskId), LINGER_MS);
      }
    };
    signal?.addEventListener("abort", stop);
    return stop;
  }

  /** What is known of a task; undefined if nobody watches it. The same object until it changes. */
  getState(taskId: string): TaskState | undefined {
    return this.#tasks._get(taskId)?._state;
  }

  /**
   * Asks the server again for the state of a watched task, also if it has ended or was refused: it
   * may have begun anew. What comes of it comes as events.
   */
  refresh(taskId: string): void {
    const refusal = this.#tasks._get(taskId)?._state.refusal;
    if (isTaskId(taskId) && this.#tasks._change(taskId, (task) => task._reopen())) {
      if (refusal) {
        this.#tokens._renew(taskId);
      }
      this.#update();
      this.#subscriptions._refresh(taskId);
    }
  }

  /** Connects again after `disconnect()`, if there is anything to watch. */
  connect(): void {
    this.#enabled = true;
    this.#update();
  }

  /** Closes the connection and polls no more, until `connect()`. What is known is kept. */
  disconnect(): void {
    this.#enabled = false;
    this.#update();
  }

  #emit: Emit = (type, detail) => this.dispatchEvent(new CustomEvent(type, { detail }));

  /** Sets going what should run as things stand, and stops what shouldn't. */
  #update(): void {
    const wanted = this.#enabled ? this.#tasks._unsettled() : [];
    if (wanted.length > 0) {
      this.#stopWaking ??= watchForWaking((online) => this.#woken(online));
      if (this.#connection._phase === "off") {
        this.#connection._start(this.#memory._isBlocked);
      }
    } else if (this.#connection._phase !== "off") {
      this.#stopWaking?.();
      this.#stopWaking = null;
      this.#connection._stop();
      this.#disconnected();
    }
    const { _overflow: overflow } = this.#subscriptions;
    this.#poller._follow(
      this.#connection._isLate ? wanted : wanted.filter((taskId) => overflow.has(taskId)),
    );
    const previous = this.#status;
    const connection = (this.#status = this.#statusNow());
    if (connection !== previous) {
      this.#emit("ConnectionChanged", { connection, previous });
    }
  }

  #statusNow(): ConnectionStatus {
    const { _phase: phase } = this.#connection;
    if (phase === "off") {
      return "idle";
    }
    if (phase === "live") {
      return phase;
    }
    const isBlocked = phase === "blocked";
    return isOffline() || (isBlocked && this.#poller._failing)
      ? "offline"
      : isBlocked || this.#poller._isAnswered
        ? "polling"
        : "reconnecting";
  }

  #report(problem: Problem): void {
    this.#warnings._give(problem);
    this.#emit("ProblemReported", problem);
  }

  /** Takes what came over the connection. */
  #received({ task, server, problem }: Parsed): void {
    if (problem) {
      this.#report(problem);
    } else if (server) {
      this.#told(server);
    } else if (task) {
      const { type, taskId } = task;
      // All right if it was watched until just now.
      if (!this.#tasks._receive(task) && !this.#subscriptions._knows(taskId)) {
        this.#report({ code: "WRONG_TASK", message: type, taskId });
      }
    }
    if (this.#connection._phase !== "live" && (task || server?.type === "subscribed")) {
      this.#connection._confirm();
      this.#memory._isBlocked = false;
      this.#update();
    }
  }

  #told(message: ServerMessage): void {
    const { type, taskId, payload } = message;
    if (type === "reconnect") {
      this.#connection._stayAwayFor(payload.afterMs);
    } else if (type === "subscribed") {
      const stages = readStages(payload.stages);
      this.#tasks._change(taskId, (task) => task._answered(payload.rev, stages));
    } else if (type === "refused") {
      const { code, message } = payload;
      this.#report({ code, message, taskId });
    }
    this.#subscriptions._receive(message);
  }

  #polled(taskId: string, answer: PolledState | null | "unchanged", isNewest: boolean): void {
    if (answer === "unchanged") {
      this.#tasks._change(taskId, (task) => task._confirm());
    } else {
      answer?._problems.forEach((problem) => this.#report(problem));
      this.#tasks._polled(taskId, answer, isNewest);
    }
    if (this.#connection._isLate && !this.#memory._isBlocked) {
      this.#memory._isBlocked = true;
    }
    this.#update();
  }

  #closed(closeCode: number, cause: unknown): void {
    const forbidden = closeCode === CLOSE_FORBIDDEN;
    const code = forbidden ? "FORBIDDEN" : "CONNECTION_LOST";
    const message = `closed with ${closeCode}`;
    this.#report({ code, message, closeCode, cause });
    for (const taskId of forbidden ? this.#tasks._unsettled() : []) {
      this.#tasks._change(taskId, (task) => task._refuse({ code, message }));
    }
    if (closeCode === CLOSE_UNAUTHORIZED) {
      this.#subscriptions._retireTokens();
      const _taskIds = this.#tasks._unsettled();
      // Until there is a token to subscribe with, or can't be one now.
      this.#connection._waitFor(
        new Promise((resolve) => {
          const done = () => resolve();
          this.#tokens._request({ _taskIds, _give: done, _fail: done });
        }),
      );
    }
    if (this.#connection._phase === "blocked") {
      this.#warnings._give({ code: "BLOCKED", message });
    }
    this.#disconnected();
    this.#update();
  }

  #disconnected(): void {
    this.#subscriptions._closed();
    for (const taskId of this.#tasks._ids()) {
      this.#tasks._change(taskId, (task) => task._unconfirm());
    }
  }

  #woken(online: boolean): void {
    this.#connection._wake(online);
    this.#poller._now();
    this.#update();
  }

  /** Forgets a task, unless somebody watches it. */
  #forget(taskId: string): void {
    if (this.#tasks._get(taskId)?._watchers.size === 0) {
      this.#tasks._forget(taskId);
      this.#tokens._forget(taskId);
      this.#subscriptions._remove(taskId);
      this.#update();
    }
  }
}
