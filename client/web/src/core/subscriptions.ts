/**
 * What is subscribed on the connection: gets tokens, subscribes, and goes on until the server has
 * said `subscribed` for each task or refused it for good. Begins again with each connection.
 *
 * Tasks under the same token are subscribed to with one message, or several if that would be too
 * long; one by one if the server doesn't know such messages. Each request has a deadline: without
 * an answer it is sent once more, and after another the connection is of no use. The pauses after
 * refusals outlive the connection.
 */
import type { ClientMessage, RequestErrorPayload } from "./protocol.js";
import { Backoff } from "./backoff.js";
import type { ServerMessage } from "./message.js";
import type { Problem } from "./problem.js";
import { Timer } from "./timer.js";
import type { Tokens } from "./tokens.js";

const ANSWER_WITHIN_MS = 10_000;
const UNANSWERED_MAX = 2;
/** A server takes messages of 16 KiB by default. */
const MESSAGE_MAX = 16_000;
const REV_MAX = 30;
/** What falls due one after the other within this time goes into one message. */
const GATHER_MS = 10;

/** What the subscriptions need of their owner. */
export interface SubscriptionsOwner {
  readonly _tokens: Tokens;
  _send(message: ClientMessage): void;
  /** What is held of the task, to resume from. */
  _revOf(taskId: string): string | null;
  _onProblem(problem: Problem): void;
  /** The server doesn't let us watch the task; never, or, if it is `retried`, not now. */
  _onRefused(taskId: string, code: string, message: string, isRetried: boolean): void;
  /** The server watches no more tasks on this connection than it does. */
  _onChange(): void;
  /** The server leaves requests without an answer. */
  _onUnanswered(): void;
}

/** One task's subscription. */
interface Subscription {
  /** Waits for the end of a pause, or for an answer. */
  readonly _timer: Timer;
  /** The token that it was asked for with. */
  _token: string | null;
  _isAsked: boolean;
  _isConfirmed: boolean;
  /** It waits for its token. */
  _isWaiting: boolean;
  /** How many requests in a row had no answer. */
  _unanswered: number;
}

export class Subscriptions {
  readonly #subscriptions = new Map<string, Subscription>();
  /** All that were subscribed to since the connection is open. */
  readonly #known = new Set<string>();
  /** The tasks that the server had no room for: they have to be asked about in another way. */
  readonly _overflow = new Set<string>();
  /** The pauses of the tasks whose last request was refused. */
  readonly #backoffs = new Map<string, Backoff>();
  /** What is to be subscribed to, and unsubscribed from, with the next messages. */
  readonly #joining = new Set<string>();
  readonly #leaving = new Set<string>();
  readonly #gathering = new Timer();
  #isOpen = false;
  /** The server knows no messages about several tasks. */
  #isSingle = false;

  constructor(private readonly _owner: SubscriptionsOwner) {}

  /** The connection is open: subscribes to the tasks. */
  _opened(taskIds: Iterable<string>): void {
    this.#isOpen = true;
    for (const taskId of taskIds) {
      this._add(taskId);
    }
  }

  /** The connection is gone. */
  _closed(): void {
    this.#isOpen = this.#isSingle = false;
    this.#gathering._clear();
    for (const set of [this.#known, this._overflow, this.#joining, this.#leaving]) {
      set.clear();
    }
    for (const taskId of this.#subscriptions.keys()) {
      this.#drop(taskId);
    }
  }

  /** The server found no valid token among those that it was sent. */
  _retireTokens(): void {
    for (const { _token: token } of this.#subscriptions.values()) {
      this._owner._tokens._retire(token);
    }
  }

  /** Subscribes to one more task, if there is a connection. */
  _add(taskId: string): void {
    if (this.#isOpen && !this.#subscriptions.has(taskId)) {
      this.#known.add(taskId);
      this.#leaving.delete(taskId);
      this._overflow.delete(taskId);
      this.#subscriptions.set(taskId, {
        _timer: new Timer(),
        _token: null,
        _isAsked: false,
        _isConfirmed: false,
        _isWaiting: false,
        _unanswered: 0,
      });
      if (this.#joining.size === 0) {
        queueMicrotask(() => this.#join());
      }
      this.#joining.add(taskId);
    }
  }

  /** Messages about the task may still be on their way. */
  _knows(taskId: string): boolean {
    return this.#known.has(taskId);
  }

  /** Unsubscribes from a task, and leaves its room to another. */
  _remove(taskId: string): void {
    this.#backoffs.delete(taskId);
    this._overflow.delete(taskId);
    if (this.#drop(taskId)) {
      this.#leaving.add(taskId);
      this.#gather();
      const [next] = this._overflow;
      if (next) {
        this._add(next);
      }
    }
  }

  /** Asks for the state of a task again. */
  _refresh(taskId: string): void {
    const subscription = this.#subscriptions.get(taskId);
    if (!subscription) {
      this._add(taskId);
    } else if (subscription._isConfirmed) {
      const rev = this._owner._revOf(taskId);
      this.#expectAnswer(taskId, subscription);
      this._owner._send({ type: "get_state", taskId, ...(rev !== null && { rev }) });
    } else if (!subscription._isAsked) {
      this.#ask(taskId);
    }
  }

  /** Takes what the server says about a subscription. */
  _receive({ type, taskId, payload }: ServerMessage): void {
    const subscription = this.#subscriptions.get(taskId);
    if (type === "refused") {
      this.#refused(taskId, subscription, payload);
    } else if (!subscription) {
      return;
    } else if (type === "subscribed") {
      subscription._timer._clear();
      subscription._isAsked = false;
      subscription._isConfirmed = true;
      subscription._unanswered = 0;
      this.#backoffs.delete(taskId);
      this._owner._tokens._accepted(taskId);
    } else if (type === "token_expiring") {
      this._owner._tokens._retire(subscription._token);
      this.#ask(taskId);
    } else if (type === "unsubscribed" && payload.reason !== "CLIENT_REQUEST") {
      subscription._isConfirmed = false;
      this._owner._tokens._drop(subscription._token);
      this.#ask(taskId);
    }
  }

  #refused(
    taskId: string,
    subscription: Subscription | undefined,
    { code, message, retryable = false }: RequestErrorPayload,
  ): void {
    const { _tokens: tokens } = this._owner;
    if (code === "INVALID_MESSAGE" && !this.#isSingle && !subscription?._isConfirmed) {
      // The server is older than messages about several tasks.
      this.#isSingle = true;
      this.#forAllAsked((asked) => this.#ask(asked));
    } else if (!subscription) {
      // It can't have read whom it was about: what has no answer yet may have been it.
      if (code === "RATE_LIMITED") {
        this.#forAllAsked((asked) => this.#retry(asked));
      }
    } else if (code === "TOO_MANY_SUBSCRIPTIONS") {
      this.#drop(taskId);
      this._overflow.add(taskId);
      this._owner._onChange();
    } else if (code === "UNAUTHORIZED") {
      tokens._refused(subscription._token, taskId);
      this.#pause(taskId, tokens._pauseFor(taskId));
      // One refusal may be a matter of clocks; not that of the fresh token after it.
      if (tokens._failures(taskId) > 1) {
        this._owner._onRefused(taskId, code, message, true);
      }
    } else if (retryable || code === "NOT_SUBSCRIBED") {
      subscription._isConfirmed &&= code !== "NOT_SUBSCRIBED";
      this.#retry(taskId);
    } else {
      this.#drop(taskId);
      this._owner._onRefused(taskId, code, message, false);
    }
  }

  #forAllAsked(action: (taskId: string) => void): void {
    for (const [taskId, { _isAsked: isAsked }] of this.#subscriptions) {
      if (isAsked) {
        action(taskId);
      }
    }
  }

  /** Subscribes as soon as other tasks that are due at about the same time are known, too. */
  #ask(taskId: string): void {
    const subscription = this.#subscriptions.get(taskId);
    if (subscription && !subscription._isWaiting) {
      subscription._timer._clear();
      subscription._isAsked = false;
      this.#joining.add(taskId);
      this.#gather();
    }
  }

  #gather(): void {
    if (!this.#gathering._running) {
      this.#gathering._set(GATHER_MS, () => {
        this.#join();
        this.#leave();
      });
    }
  }

  #join(): void {
    const { _tokens: tokens } = this._owner;
    const taskIds: string[] = [];
    for (const taskId of this.#joining) {
      const subscription = this.#subscriptions.get(taskId);
      const pause = tokens._pauseFor(taskId);
      if (subscription && pause > 0) {
        this.#pause(taskId, pause);
      } else if (subscription) {
        subscription._isWaiting = true;
        taskIds.push(taskId);
      }
    }
    this.#joining.clear();
    const asking = new Map(taskIds.map((taskId) => [taskId, this.#subscriptions.get(taskId)!]));
    /** Those of the tasks that wait since then, and on this connection. */
    const still = (some: readonly string[]) =>
      some.filter((taskId) => {
        const subscription = asking.get(taskId)!;
        subscription._isWaiting = false;
        return this.#subscriptions.get(taskId) === subscription;
      });
    tokens._request({
      _taskIds: taskIds,
      _give: (token, some) => this.#subscribe(token, still(some)),
      _fail: (some, cause) => this.#withoutToken(still(some), cause),
    });
  }

  /** There is no fresh token: takes an older one if there is any. */
  #withoutToken(taskIds: readonly string[], cause: unknown): void {
    const { _tokens: tokens, _onProblem: onProblem, _onRefused: onRefused } = this._owner;
    const message = String(cause);
    if (taskIds.length > 0) {
      onProblem({ code: "TOKEN_FAILED", message, taskId: taskIds[0]!, cause });
    }
    for (const taskId of taskIds) {
      const subscription = this.#subscriptions.get(taskId)!;
      const { _isConfirmed: isConfirmed } = subscription;
      const token = isConfirmed ? undefined : tokens._lastResort(taskId);
      if (token !== undefined) {
        this.#subscribe(token, [taskId]);
        continue;
      }
      this.#pause(taskId, tokens._pauseFor(taskId));
      if (!isConfirmed && tokens._failures(taskId) > 1) {
        onRefused(taskId, "TOKEN_FAILED", message, true);
      }
    }
  }

  #subscribe(token: string, taskIds: readonly string[]): void {
    for (const part of this.#cut(taskIds, token.length)) {
      const revs = part.map((taskId) => {
        const subscription = this.#subscriptions.get(taskId)!;
        subscription._token = token;
        this.#expectAnswer(taskId, subscription);
        return this._owner._revOf(taskId);
      });
      this._owner._send(
        part.length > 1
          ? { type: "subscribe", taskIds: part, token, revs }
          : { type: "subscribe", taskId: part[0]!, token, ...(revs[0] && { rev: revs[0] }) },
      );
    }
  }

  #leave(): void {
    for (const part of this.#cut([...this.#leaving], 0)) {
      this._owner._send({
        type: "unsubscribe",
        ...(part.length > 1 ? { taskIds: part } : { taskId: part[0]! }),
      });
    }
    this.#leaving.clear();
  }

  /** Cuts a list into parts that fit into a message each, beside so much else. */
  #cut(taskIds: readonly string[], taken: number): string[][] {
    const parts: string[][] = [];
    let room = 0;
    for (const taskId of taskIds) {
      const length = taskId.length + REV_MAX + 6; // with quotes and commas
      room -= length;
      if (room < 0 || this.#isSingle) {
        room = MESSAGE_MAX - 100 - taken - length;
        parts.push([]);
      }
      parts.at(-1)!.push(taskId);
    }
    return parts;
  }

  #expectAnswer(taskId: string, subscription: Subscription): void {
    subscription._isAsked = true;
    subscription._timer._set(ANSWER_WITHIN_MS, () => {
      if (++subscription._unanswered < UNANSWERED_MAX) {
        this.#ask(taskId);
      } else {
        this._owner._onUnanswered();
      }
    });
  }

  #retry(taskId: string): void {
    const backoff = this.#backoffs.get(taskId) ?? new Backoff();
    this.#backoffs.set(taskId, backoff);
    this.#pause(taskId, backoff._next());
  }

  #pause(taskId: string, ms: number): void {
    const subscription = this.#subscriptions.get(taskId)!;
    subscription._isAsked = false;
    subscription._unanswered = 0;
    subscription._timer._set(ms, () => this.#ask(taskId));
  }

  #drop(taskId: string): boolean {
    this.#subscriptions.get(taskId)?._timer._clear();
    return this.#subscriptions.delete(taskId);
  }
}
