/** Polls tasks over HTTP, each at the pace that the server gives, as long as it is told to. */
import { Backoff } from "./backoff.js";
import { poll } from "./poll.js";
import type { Fetch, PolledState, PollResult } from "./poll.js";
import type { Problem } from "./problem.js";
import { Timer } from "./timer.js";
import type { Tokens } from "./tokens.js";

const ANSWER_WITHIN_MS = 20_000;
/** A browser opens no more than six connections to a host: more polls would only wait for those. */
const POLLS_MAX = 6;
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
  /**
   * The server answered: with another state, with null if it has none, or that nothing changed.
   * `isNewest` if nothing was learnt of the task since it was asked.
   */
  onAnswer(taskId: string, answer: PolledState | null | "unchanged", isNewest: boolean): void;
  /** The server can't be reached, or doesn't answer sensibly. */
  onFailed(taskId: string): void;
  /** The server doesn't let us watch the task; never, or, if it is `retried`, not now. */
  onRefused(taskId: string, code: string, message: string, isRetried: boolean): void;
  onProblem(problem: Problem): void;
}

export class Poller {
  readonly #loops = new Map<string, PollLoop>();
  /** The polls that are under way, and those that wait for one of them to end. */
  #polls = 0;
  readonly #queue: (() => Promise<void>)[] = [];

  constructor(private readonly owner: PollerOwner) {}

  /** No task was answered lately, and there was time to. */
  get failing(): boolean {
    const loops = [...this.#loops.values()];
    return loops.length > 0 && loops.every((loop) => loop.failing === true);
  }

  /** A task was answered lately. */
  get isAnswered(): boolean {
    return [...this.#loops.values()].some((loop) => loop.failing === false);
  }

  /** Polls these tasks, and no others. */
  follow(taskIds: readonly string[]): void {
    const wanted = new Set(taskIds);
    for (const [taskId, loop] of [...this.#loops]) {
      if (!wanted.has(taskId)) {
        this.#loops.delete(taskId);
        loop.stop();
      }
    }
    for (const taskId of taskIds) {
      if (!this.#loops.has(taskId)) {
        const loop = new PollLoop(taskId, this.owner, (poll) => this.#enqueue(poll));
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

  #enqueue(poll: () => Promise<void>): void {
    this.#queue.push(poll);
    if (this.#polls < POLLS_MAX) {
      void this.#work();
    }
  }

  async #work(): Promise<void> {
    this.#polls++;
    for (let poll = this.#queue.shift(); poll; poll = this.#queue.shift()) {
      await poll();
    }
    this.#polls--;
  }
}

/** The polls of one task, one after the other. */
class PollLoop {
  /** The last poll failed; null before the end of the first. */
  failing: boolean | null = null;
  /** Ends the pause, or the waiting for an answer. */
  readonly #timer = new Timer();
  readonly #backoff = new Backoff();
  /** A poll waits for its turn or its token, or is under way. */
  #isPolling = false;
  #asking: AbortController | null = null;
  #stopped = false;

  /** @param enqueue calls back when there is a turn for a poll */
  constructor(
    private readonly taskId: string,
    private readonly owner: PollerOwner,
    private readonly enqueue: (poll: () => Promise<void>) => void,
  ) {}

  /** Polls at once, unless an answer is being waited for. */
  now(): void {
    if (!this.#isPolling) {
      this.#timer.clear();
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
    this.#isPolling = true;
    try {
      const token = await owner.tokens.get(taskId);
      await new Promise<void>((resolve) =>
        this.enqueue(async () => {
          if (!this.#stopped) {
            await this.#ask(token);
          }
          resolve();
        }),
      );
    } catch (cause) {
      if (!this.#stopped) {
        const message = String(cause);
        this.#rest(this.#take({ problem: { code: "TOKEN_FAILED", message, taskId, cause } }, ""));
      }
    }
    this.#isPolling = false;
  }

  async #ask(token: string): Promise<void> {
    const { taskId, owner } = this;
    const asking = (this.#asking = new AbortController());
    this.#timer.set(ANSWER_WITHIN_MS, () => asking.abort());
    const rev = owner.revOf(taskId);
    const result = await poll({
      fetch: owner.fetch,
      url: () => owner.stateUrl(taskId),
      taskId,
      token,
      rev,
      signal: asking.signal,
    });
    if (!this.#stopped) {
      this.#rest(this.#take(result, token, owner.revOf(taskId) === rev), result.afterMs);
    }
  }

  /** Waits until the next poll: for as long as the server said, if it did. */
  #rest(isAnswered: boolean, afterMs = 0): void {
    const own = isAnswered ? PAUSE_MS : PAUSE_MIN_MS + this.#backoff.next();
    const pause = Math.min(Math.max(afterMs || own, PAUSE_MIN_MS), PAUSE_MAX_MS);
    const untilToken = this.owner.tokens.pauseFor(this.taskId);
    this.#timer.set(Math.max(pause, untilToken), () => this.now());
  }

  /** Hands on what came of a poll; returns whether there was an answer. */
  #take({ answer, problem, refusedWith }: PollResult, token: string, isNewest = false): boolean {
    const { taskId, owner } = this;
    const { tokens } = owner;
    if (problem) {
      owner.onProblem(problem);
    }
    this.failing = answer === undefined;
    if (answer !== undefined) {
      this.#backoff.reset();
      tokens.accepted(taskId);
      owner.onAnswer(taskId, answer, isNewest);
      return true;
    }
    if (refusedWith === 401) {
      tokens.refused(token, taskId);
    }
    const isRetried = refusedWith !== 400 && refusedWith !== 403;
    const isOfToken = refusedWith === 401 || problem?.code === "TOKEN_FAILED";
    if (problem && (!isRetried || (isOfToken && tokens.failures(taskId) > 1))) {
      owner.onRefused(taskId, problem.code, problem.message, isRetried);
    }
    if (isRetried) {
      owner.onFailed(taskId);
    }
    return false;
  }
}
