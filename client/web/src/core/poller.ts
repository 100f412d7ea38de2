/** Polls tasks over HTTP, each at the pace that the server gives, as long as it is told to. */
import { Backoff } from "./backoff.js";
import { poll } from "./poll.js";
import type { PolledState, PollResult } from "./poll.js";
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
  /** Asks for the state of the task; may throw. */
  _ask(taskId: string, init: RequestInit): Promise<Response>;
  readonly _tokens: Tokens;
  /** What is held of the task. */
  _revOf(taskId: string): string | null;
  /**
   * The server answered: with another state, with null if it has none, or that nothing changed.
   * `isNewest` if nothing was learnt of the task since it was asked.
   */
  _onAnswer(taskId: string, answer: PolledState | null | "unchanged", isNewest: boolean): void;
  /** The server can't be reached, or doesn't answer sensibly. */
  _onFailed(taskId: string): void;
  /** The server doesn't let us watch the task; never, or, if it is `retried`, not now. */
  _onRefused(taskId: string, code: string, message: string, isRetried: boolean): void;
  _onProblem(problem: Problem): void;
}

export class Poller {
  readonly #loops = new Map<string, PollLoop>();
  /** The polls that are under way, and those that wait for one of them to end. */
  #polls = 0;
  readonly #queue: (() => void)[] = [];

  constructor(private readonly _owner: PollerOwner) {}

  /** No task was answered lately, and there was time to. */
  get _failing(): boolean {
    const loops = [...this.#loops.values()];
    return loops.length > 0 && loops.every((loop) => loop._failing === true);
  }

  /** A task was answered lately. */
  get _isAnswered(): boolean {
    return [...this.#loops.values()].some((loop) => loop._failing === false);
  }

  /** Polls these tasks, and no others. */
  _follow(taskIds: readonly string[]): void {
    const wanted = new Set(taskIds);
    for (const [taskId, loop] of this.#loops) {
      if (!wanted.has(taskId)) {
        this.#loops.delete(taskId);
        loop._stop();
      }
    }
    for (const taskId of taskIds) {
      if (!this.#loops.has(taskId)) {
        const loop = new PollLoop(taskId, this._owner, (poll) => this.#inTurn(poll));
        this.#loops.set(taskId, loop);
        loop._now();
      }
    }
  }

  /** Doesn't wait for the ends of the pauses. */
  _now(): void {
    for (const loop of this.#loops.values()) {
      loop._now();
    }
  }

  async #inTurn(poll: () => Promise<void>): Promise<void> {
    while (this.#polls >= POLLS_MAX) {
      await new Promise<void>((resolve) => this.#queue.push(resolve));
    }
    this.#polls++;
    await poll();
    this.#polls--;
    this.#queue.shift()?.();
  }
}

/** The polls of one task, one after the other. */
class PollLoop {
  /** The last poll failed; null before the end of the first. */
  _failing: boolean | null = null;
  /** Ends the pause, or the waiting for an answer. */
  readonly #timer = new Timer();
  readonly #backoff = new Backoff();
  /** A poll waits for its turn or its token, or is under way. */
  #isPolling = false;
  #asking: AbortController | null = null;
  #stopped = false;

  /** @param _inTurn runs a poll when there is a turn for it */
  constructor(
    private readonly _taskId: string,
    private readonly _owner: PollerOwner,
    private readonly _inTurn: (poll: () => Promise<void>) => Promise<void>,
  ) {}

  /** Polls at once, unless an answer is being waited for. */
  _now(): void {
    if (!this.#isPolling) {
      this.#timer._clear();
      void this.#poll();
    }
  }

  _stop(): void {
    this.#stopped = true;
    this.#timer._clear();
    this.#asking?.abort();
  }

  async #poll(): Promise<void> {
    const { _taskId: taskId, _owner: owner } = this;
    this.#isPolling = true;
    try {
      const token = await owner._tokens._get(taskId);
      await this._inTurn(() => this.#ask(token));
    } catch (cause) {
      const message = String(cause);
      this.#take({ _problem: { code: "TOKEN_FAILED", message, taskId, cause } }, "");
    }
    this.#isPolling = false;
  }

  async #ask(token: string): Promise<void> {
    const { _taskId: taskId, _owner: owner } = this;
    if (this.#stopped) {
      return;
    }
    const asking = (this.#asking = new AbortController());
    this.#timer._set(ANSWER_WITHIN_MS, () => asking.abort());
    const rev = owner._revOf(taskId);
    const ask = (init: RequestInit) => owner._ask(taskId, init);
    const result = await poll(ask, taskId, token, rev, asking.signal);
    this.#take(result, token, owner._revOf(taskId) === rev);
  }

  /** Hands on what came of a poll, and waits until the next: for as long as the server said. */
  #take(
    {
      _answer: answer,
      _problem: problem,
      _refusedWith: refusedWith,
      _afterMs: afterMs,
    }: PollResult,
    token: string,
    isNewest = false,
  ): void {
    const { _taskId: taskId, _owner: owner } = this;
    const { _tokens: tokens } = owner;
    if (this.#stopped) {
      return;
    }
    let pause = PAUSE_MS;
    if (problem) {
      owner._onProblem(problem);
    }
    this._failing = answer === undefined;
    if (answer !== undefined) {
      this.#backoff._reset();
      tokens._accepted(taskId);
      owner._onAnswer(taskId, answer, isNewest);
    } else if (problem) {
      pause = PAUSE_MIN_MS + this.#backoff._next();
      if (refusedWith === 401) {
        tokens._refused(token, taskId);
      }
      const isRetried = refusedWith !== 400 && refusedWith !== 403;
      const isOfToken = refusedWith === 401 || problem.code === "TOKEN_FAILED";
      if (!isRetried || (isOfToken && tokens._failures(taskId) > 1)) {
        owner._onRefused(taskId, problem.code, problem.message, isRetried);
      }
      if (isRetried) {
        owner._onFailed(taskId);
      }
    }
    pause = Math.min(Math.max(afterMs || pause, PAUSE_MIN_MS), PAUSE_MAX_MS);
    if (!this.#stopped) {
      this.#timer._set(Math.max(pause, tokens._pauseFor(taskId)), () => this._now());
    }
  }
}
