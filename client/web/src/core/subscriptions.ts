/**
 * What is subscribed on the connection: asks for tokens, subscribes, and goes on until the server
 * has said `subscribed` for each task or refused it for good. Begins again with each connection.
 */
import type { ClientMessage } from "./protocol.js";
import { Backoff } from "./backoff.js";
import type { ServerMessage } from "./message.js";
import type { Problem } from "./problem.js";
import { Timer } from "./timer.js";
import type { Tokens } from "./tokens.js";

/** What the subscriptions need of their owner. */
export interface SubscriptionsOwner {
  readonly tokens: Tokens;
  send(message: ClientMessage): void;
  /** What is held of the task, to resume from. */
  revOf(taskId: string): string | null;
  onProblem(problem: Problem): void;
  /** The server will never let us watch the task. */
  onRefused(taskId: string, code: string, message: string): void;
}

/** One task's subscription. */
interface Subscription {
  readonly pause: Timer;
  readonly backoff: Backoff;
  /** Counts the requests for tokens, so that a late answer to an older one is recognised. */
  asked: number;
  confirmed: boolean;
}

export class Subscriptions {
  readonly #subscriptions = new Map<string, Subscription>();
  /** All that were subscribed to since the connection is open. */
  readonly #known = new Set<string>();
  #open = false;

  constructor(private readonly owner: SubscriptionsOwner) {}

  /** The connection is open: subscribes to the tasks. */
  opened(taskIds: Iterable<string>): void {
    this.#open = true;
    for (const taskId of taskIds) {
      this.add(taskId);
    }
  }

  /** The connection is gone. */
  closed(): void {
    this.#open = false;
    this.#known.clear();
    for (const taskId of [...this.#subscriptions.keys()]) {
      this.#drop(taskId);
    }
  }

  /** Subscribes to one more task, if there is a connection. */
  add(taskId: string): void {
    if (this.#open && !this.#subscriptions.has(taskId)) {
      this.#known.add(taskId);
      this.#subscriptions.set(taskId, {
        pause: new Timer(),
        backoff: new Backoff(),
        asked: 0,
        confirmed: false,
      });
      void this.#subscribe(taskId);
    }
  }

  /** Messages about the task may still be on their way. */
  knows(taskId: string): boolean {
    return this.#known.has(taskId);
  }

  /** Unsubscribes from a task. */
  remove(taskId: string): void {
    if (this.#drop(taskId)) {
      this.owner.send({ type: "unsubscribe", taskId });
    }
  }

  /** Asks for the state of a task again. */
  refresh(taskId: string): void {
    if (this.#subscriptions.get(taskId)?.confirmed) {
      const rev = this.owner.revOf(taskId);
      this.owner.send({ type: "get_state", taskId, ...(rev !== null && { rev }) });
    } else {
      this.add(taskId);
    }
  }

  /** Takes what the server says about a subscription. */
  receive({ type, taskId, payload }: ServerMessage): void {
    const subscription = this.#subscriptions.get(taskId);
    if (!subscription) {
      return;
    }
    if (type === "refused") {
      const { code, message, retryable } = payload;
      if (retryable || code === "NOT_SUBSCRIBED") {
        this.#retry(subscription, taskId);
      } else {
        this.#drop(taskId);
        this.owner.onRefused(taskId, code, message);
      }
    } else {
      subscription.confirmed = type !== "unsubscribed";
      if (type === "subscribed") {
        subscription.backoff.reset();
      } else {
        void this.#subscribe(taskId);
      }
    }
  }

  async #subscribe(taskId: string): Promise<void> {
    const subscription = this.#subscriptions.get(taskId);
    if (!subscription) {
      return;
    }
    const asked = ++subscription.asked;
    subscription.pause.clear();
    const isCurrent = () =>
      this.#subscriptions.get(taskId) === subscription && subscription.asked === asked;
    try {
      const token = await this.owner.tokens.ask(taskId);
      if (isCurrent()) {
        const rev = this.owner.revOf(taskId);
        this.owner.send({ type: "subscribe", taskId, token, ...(rev !== null && { rev }) });
      }
    } catch (cause) {
      if (isCurrent()) {
        const message = String(cause);
        this.owner.onProblem({ code: "TOKEN_FAILED", message, taskId, cause });
        this.#retry(subscription, taskId);
      }
    }
  }

  #retry(subscription: Subscription, taskId: string): void {
    subscription.pause.set(subscription.backoff.next(), () => void this.#subscribe(taskId));
  }

  #drop(taskId: string): boolean {
    this.#subscriptions.get(taskId)?.pause.clear();
    return this.#subscriptions.delete(taskId);
  }
}
