/** Polls tasks over HTTP, each at the pace that the server gives, as long as it is told to. */
import { Backoff } from "./backoff.js";
import { poll } from "./poll.js";
import type { Fetch, PolledState, PollResult } from "./poll.js";
import type { Problem } from "./problem.js";
import { Timer } from "./timer.js";
import type { Tokens } from "./tokens.js";

const ANSWER_WITHIN_MS = 20_000; // with the time it takes to get a token
const PAUSE_MS = 2_000; // when the server names none
const PAUSE_MIN_MS = 1_000;
const PAUSE_MAX_MS = 60_000;

/** What the poller needs of its owner. */
export interface PollerOwner {
  readonly fetch: Fetch;
  /** Where to ask; may throw. */
  stateUrl(taskId: string): string;
  readonly tokens: Tokens;
  /** What is held of the task. */
  revOf(taskId: string): string | null;
  /** The server answered: with another state, with null if it has none, or that nothing changed. */
  onAnswer(taskId: string, answer: PolledState | null | "unchanged"): void;
  /** The server can't be reached, or doesn't answer sensibly. */
  onFailed(taskId: string): void;
  /** The server will never let us watch the task. */
  onRefused(taskId: string, code: string, message: string): void;
  onProblem(problem: Problem): void;
}

export class Poller {
  readonly #loops = new Map<string, PollLoop>();

  constructor(private readonly owner: PollerOwner) {}

  /** No task was answered lately, and there was time to. */
  get failing(): boolean {
    const loops = [...this.#loops.values()];
    return loops.length > 0 && loops.every((loop) => loop.failing);
  }

  /** Polls these tasks, and no others. */
  follow(taskIds: readonly string[]): void {
    for (const [taskId, loop] of [...this.#loops]) {
      if (!taskIds.includes(taskId)) {
        this.#loops.delete(taskId);
        loop.stop();
      }
    }
    for (const taskId of taskIds) {
      if (!this.#loops.has(taskId)) {
        const loop = new PollLoop(taskId, this.owner);
        this.#loops.set(taskId, loop);
        loop.now();
      }
    }
  }

  /** Doesn't wait for the ends of the pauses. */
  now(): void {
    for (const loop of this.#loops.values()) {
      loop.now();
    }
  }
}

/** The polls of one task, one after the other. */
class PollLoop {
  /** The last poll failed. */
  failing = false;
  /** Ends the pause, or the waiting for an answer. */
  readonly #timer = new Timer();
  readonly #backoff = new Backoff();
  /** The poll under way. */
  #asking: AbortController | null = null;
  #stopped = false;

  constructor(
    private readonly taskId: string,
    private readonly owner: PollerOwner,
  ) {}

  /** Polls at once, unless an answer is being waited for. */
  now(): void {
    if (!this.#asking) {
      void this.#poll();
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#timer.clear();
    this.#asking?.abort();
  }

  async #poll(): Promise<void> {
    const { taskId, owner } = this;
    const asking = (this.#asking = new AbortController());
    this.#timer.set(ANSWER_WITHIN_MS, () => asking.abort());
    const result = await poll({
      fetch: owner.fetch,
      url: () => owner.stateUrl(taskId),
      taskId,
      token: () => owner.tokens.get(taskId),
      rev: owner.revOf(taskId),
      signal: asking.signal,
    });
    this.#asking = null;
    if (!this.#stopped) {
      const own = this.#take(result) ? PAUSE_MS : PAUSE_MIN_MS + this.#backoff.next();
      const pause = Math.min(Math.max(result.afterMs || own, PAUSE_MIN_MS), PAUSE_MAX_MS);
      this.#timer.set(pause, () => this.now());
    }
  }

  /** Hands on what came of a poll; returns whether there was an answer. */
  #take({ answer, problem, refusedWith }: PollResult): boolean {
    const { taskId, owner } = this;
    if (problem) {
      owner.onProblem(problem);
    }
    this.failing = answer === undefined;
    if (answer !== undefined) {
      this.#backoff.reset();
      owner.onAnswer(taskId, answer);
    } else if (problem && (refusedWith === 400 || refusedWith === 403)) {
      owner.onRefused(taskId, problem.code, problem.message);
    } else {
      if (refusedWith === 401) {
        owner.tokens.forget(taskId);
      }
      owner.onFailed(taskId);
    }
    return !this.failing;
  }
}
