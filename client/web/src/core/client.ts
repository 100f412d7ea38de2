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
      tokens,
      revOf: (taskId: string) => this.#tasks.get(taskId)?.state.rev ?? null,
      onProblem: (problem: Problem) => this.#report(problem),
      onRefused: (taskId: string, code: string, message: string, isRetried: boolean) =>
        this.#tasks.change(taskId, (task) => task.refuse({ code, message, isRetried })),
    };
    this.#tasks = new Tasks(
      (type, detail) => this.#emit(type, detail),
      () => this.#update(),
    );
    this.#connection = new Connection(
      () => new (options.WebSocket ?? globalThis.WebSocket)(webSocketUrl(url)),
      {
        onOpen: () => this.#subscriptions.opened(this.#tasks.ids()),
        onMessage: (message) => this.#received(message),
        onProblem: owner.onProblem,
        onSlow: () => this.#update(),
        onClosed: (code, cause) => this.#closed(code, cause),
      },
    );
    this.#subscriptions = new Subscriptions({
      ...owner,
      send: (message) => this.#connection.send(message),
      onOverflow: () => this.#update(),
      onUnanswered: () => this.#connection.replace(),
    });
    this.#poller = new Poller({
      ...owner,
      stateUrl: (taskId) => stateUrl(url, taskId),
      fetch: options.fetch ?? ((...request) => globalThis.fetch(...request)),
      onAnswer: (taskId, answer, isNewest) => this.#polled(taskId, answer, isNewest),
      onFailed: (taskId) => {
        this.#tasks.change(taskId, (task) => task.unconfirm());
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
    this.#tasks.watch(taskId, watcher);
    if (isTaskId(taskId)) {
      this.#subscriptions.add(taskId);
    } else {
      const refusal = { code: "INVALID_TASK_ID", message: "not a task id" };
      this.#tasks.change(taskId, (task) => task.refuse(refusal));
    }
    this.#update();
    const stop = () => {
      signal?.removeEventListener("abort", stop);
      if (this.#tasks.get(taskId)?.watchers.delete(watcher)) {
        setTimeout(() => this.#forget(taskId), LINGER_MS);
      }
    };
    signal?.addEventListener("abort", stop);
    return stop;
  }

  /** What is known of a task; undefined if nobody watches it. The same object until it changes. */
  getState(taskId: string): TaskState | undefined {
    return this.#tasks.get(taskId)?.state;
  }

  /**
   * Asks the server again for the state of a watched task, also if it has ended or was refused: it
   * may have begun anew. What comes of it comes as events.
   */
  refresh(taskId: string): void {
    const refusal = this.#tasks.get(taskId)?.state.refusal;
    if (isTaskId(taskId) && this.#tasks.change(taskId, (task) => task.reopen())) {
      if (refusal) {
        this.#tokens.renew(taskId);
      }
      this.#update();
      this.#subscriptions.refresh(taskId);
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

  #emit: Emit = (type, detail) => {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  };

  /** Sets going what should run as things stand, and stops what shouldn't. */
  #update(): void {
    const wanted = this.#enabled ? this.#tasks.unsettled() : [];
    if (wanted.length > 0) {
      this.#stopWaking ??= watchForWaking((online) => this.#woken(online));
      if (this.#connection.phase === "off") {
        this.#connection.start(this.#memory.isBlocked);
      }
    } else if (this.#connection.phase !== "off") {
      this.#stopWaking?.();
      this.#stopWaking = null;
      this.#connection.stop();
      this.#disconnected();
    }
    const { overflow } = this.#subscriptions;
    this.#poller.follow(
      this.#connection.phase === "blocked" || this.#connection.isSlow
        ? wanted
        : overflow.size === 0
          ? []
          : wanted.filter((taskId) => overflow.has(taskId)),
    );
    const previous = this.#status;
    const connection = (this.#status = this.#statusNow());
    if (connection !== previous) {
      this.#emit("ConnectionChanged", { connection, previous });
    }
  }

  #statusNow(): ConnectionStatus {
    switch (this.#connection.phase) {
      case "off":
        return "idle";
      case "live":
        return "live";
      case "connecting":
        return isOffline() ? "offline" : this.#poller.isAnswered ? "polling" : "reconnecting";
      case "blocked":
        return isOffline() || this.#poller.failing ? "offline" : "polling";
    }
  }

  #report(problem: Problem): void {
    this.#warnings.give(problem);
    this.#emit("ProblemReported", problem);
  }

  /** Takes what came over the connection. */
  #received(message: Parsed): void {
    if ("problem" in message) {
      this.#report(message.problem);
    } else if ("task" in message) {
      const { type, taskId } = message.task;
      // All right if it was watched until just now.
      if (!this.#tasks.receive(message.task) && !this.#subscriptions.knows(taskId)) {
        this.#report({ code: "WRONG_TASK", message: type, taskId });
      }
    } else if ("server" in message) {
      this.#told(message.server);
    }
    if ("task" in message || ("server" in message && message.server.type === "subscribed")) {
      if (this.#connection.phase !== "live") {
        this.#connection.confirm();
        this.#memory.isBlocked = false;
        this.#update();
      }
    }
  }

  #told(message: ServerMessage): void {
    const { type, taskId, payload } = message;
    if (type === "reconnect") {
      this.#connection.stayAwayFor(payload.afterMs);
    } else if (type === "subscribed") {
      const stages = readStages(payload.stages);
      this.#tasks.change(taskId, (task) => task.answered(payload.rev, stages));
    } else if (type === "refused") {
      const { code, message } = payload;
      this.#report({ code, message, taskId });
    }
    this.#subscriptions.receive(message);
  }

  #polled(taskId: string, answer: PolledState | null | "unchanged", isNewest: boolean): void {
    if (answer === "unchanged") {
      this.#tasks.change(taskId, (task) => task.confirm());
    } else {
      answer?.problems.forEach((problem) => this.#report(problem));
      this.#tasks.polled(taskId, answer, isNewest);
    }
    const { phase, isSlow } = this.#connection;
    if ((phase === "blocked" || isSlow) && !this.#memory.isBlocked) {
      this.#memory.isBlocked = true;
    }
    this.#update();
  }

  #closed(closeCode: number, cause: unknown): void {
    const forbidden = closeCode === CLOSE_FORBIDDEN;
    const code = forbidden ? "FORBIDDEN" : "CONNECTION_LOST";
    const message = `closed with ${closeCode}`;
    this.#report({ code, message, closeCode, cause });
    for (const taskId of forbidden ? this.#tasks.unsettled() : []) {
      this.#tasks.change(taskId, (task) => task.refuse({ code, message }));
    }
    if (closeCode === CLOSE_UNAUTHORIZED) {
      this.#subscriptions.retireTokens();
      this.#connection.waitFor(this.#tokenThere());
    }
    if (this.#connection.phase === "blocked") {
      this.#warnings.give({ code: "BLOCKED", message });
    }
    this.#disconnected();
    this.#update();
  }

  /** Settles when there is a token to subscribe with, or can't be one now. */
  #tokenThere(): Promise<void> {
    const taskIds = this.#tasks.unsettled();
    return new Promise((resolve) => {
      const done = () => resolve();
      this.#tokens.request({ taskIds, give: done, fail: done });
    });
  }

  #disconnected(): void {
    this.#subscriptions.closed();
    for (const taskId of this.#tasks.ids()) {
      this.#tasks.change(taskId, (task) => task.unconfirm());
    }
  }

  #woken(online: boolean): void {
    this.#connection.wake(online);
    this.#poller.now();
    this.#update();
  }

  /** Forgets a task, unless somebody watches it. */
  #forget(taskId: string): void {
    if (this.#tasks.get(taskId)?.watchers.size === 0) {
      this.#tasks.forget(taskId);
      this.#tokens.forget(taskId);
      this.#subscriptions.remove(taskId);
      this.#update();
    }
  }
}
