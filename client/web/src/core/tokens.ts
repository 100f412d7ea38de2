/**
 * The tokens of the tasks, as far as they were asked for; kept in memory only.
 *
 * A token that names many tasks is asked for once, for one of them, and serves the others until it
 * expires or is refused. So of several tasks without a token one goes first, and the others wait
 * for what comes of it. When the application gives no token, or one that the server refuses, the
 * tasks concerned are not asked for again before a pause is over, which grows until they succeed:
 * whatever becomes of connections meanwhile.
 */
import { Backoff } from "./backoff.js";
import { isObject } from "./message.js";
import { Timer } from "./timer.js";

/**
 * Gives a token (JWT) that allows to watch the task. One that names other tasks too, in its claim
 * `tasks`, is used for them as well, until it expires. Rejecting, or giving nothing, is no harm: it
 * is called again after a pause.
 */
export type TokenProvider = (taskId: string) => string | Promise<string>;

/** Some tasks that need a token each. The calls come at once for tokens that are held. */
export interface TokenRequest {
  readonly _taskIds: readonly string[];
  /** One token for these of the tasks. */
  _give(token: string, taskIds: readonly string[]): void;
  /** There is none for these of the tasks. */
  _fail(taskIds: readonly string[], cause: unknown): void;
}

const TOKEN_WITHIN_MS = 15_000;
const FRESH_MS = 10_000; // for so long a new token is good, whatever this machine's clock says

interface Token {
  readonly _text: string;
  /** Whether it names other tasks than the one that it was asked for. */
  readonly _isShared: boolean;
  _names(taskId: string): boolean;
  /** When it expires, in milliseconds since 1970. */
  readonly _expiresAt: number;
  /** The server said that it is about to expire: a newer one is asked for. */
  _isOld: boolean;
}

export class Tokens {
  /** By the task that each was asked for. */
  readonly #held = new Map<string, Token>();
  /** How often in a row a task had no token, or one that was refused. */
  readonly #failures = new Map<string, number>();
  readonly #backoff = new Backoff();
  #pauseEnd = 0;
  readonly #asking = new Map<string, Promise<Token>>();
  #waiting: TokenRequest[] = [];
  #isAskingForOne = false;

  constructor(private readonly _provider: TokenProvider) {}

  /** Gets tokens for tasks: held ones, or fresh ones. */
  _request(request: TokenRequest): void {
    const taskIds = this.#giveHeld(request);
    if (taskIds.length > 0) {
      this.#waiting.push({ ...request, _taskIds: taskIds });
      void this.#askForOne();
    }
  }

  /** A token for one task; one that is about to expire if there is no other. Rejects if there is none. */
  _get(taskId: string): Promise<string> {
    return new Promise((resolve, reject) =>
      this._request({
        _taskIds: [taskId],
        _give: resolve,
        _fail: (_, cause) => {
          const last = this._lastResort(taskId);
          last === undefined ? reject(cause) : resolve(last);
        },
      }),
    );
  }

  /** A token that hasn't expired, though a newer one was asked for. */
  _lastResort(taskId: string): string | undefined {
    return this.#find(taskId, true)?._text;
  }

  /** For how many more milliseconds no token is asked for. 0 if one is held. */
  _pauseFor(taskId: string): number {
    const pauses = this.#failures.has(taskId) && !this.#find(taskId);
    return pauses ? Math.max(0, this.#pauseEnd - Date.now()) : 0;
  }

  /** How often in a row the task had no token, or one that was refused. */
  _failures(taskId: string): number {
    return this.#failures.get(taskId) ?? 0;
  }

  /** The server has taken the task's token. */
  _accepted(taskId: string): void {
    if (this.#failures.delete(taskId) && this.#failures.size === 0) {
      this.#backoff._reset();
    }
  }

  /** The server has refused the token, which was sent for the task. */
  _refused(token: string | null, taskId: string): void {
    this._drop(token);
    this.#failed([taskId]);
  }

  /** The token has expired. */
  _drop(token: string | null): void {
    for (const [asked, { _text: text }] of this.#held) {
      if (text === token) {
        this.#held.delete(asked);
      }
    }
  }

  /** The token is about to expire: a newer one is to be asked for. */
  _retire(token: string | null): void {
    for (const held of this.#held.values()) {
      held._isOld ||= held._text === token;
    }
  }

  /** The user wants another try for the task: at once, with a fresh token. */
  _renew(taskId: string): void {
    this.#failures.delete(taskId);
    for (const held of this.#held.values()) {
      held._isOld ||= held._names(taskId);
    }
  }

  /** The task isn't watched any more. */
  _forget(taskId: string): void {
    this._accepted(taskId);
    if (!this.#held.get(taskId)?._isShared) {
      this.#held.delete(taskId);
    }
  }

  #find(taskId: string, isOldEnough = false): Token | undefined {
    const now = Date.now();
    const isGood = (token: Token | undefined) =>
      token && token._expiresAt > now && (isOldEnough || !token._isOld) && token._names(taskId);
    const own = this.#held.get(taskId);
    return isGood(own)
      ? own
      : [...this.#held.values()].find((token) => token._isShared && isGood(token));
  }

  /** Gives the held tokens; returns the tasks that have none. */
  #giveHeld({ _taskIds: taskIds, _give: give }: TokenRequest): string[] {
    const groups = new Map<string | undefined, string[]>([[undefined, []]]);
    for (const taskId of taskIds) {
      const text = this.#find(taskId)?._text;
      const group = groups.get(text) ?? [];
      group.push(taskId);
      groups.set(text, group);
    }
    groups.forEach((group, text) => text !== undefined && give(text, group));
    return groups.get(undefined)!;
  }

  /** Asks for one of the waiting tasks, then sees which others that serves; until none waits. */
  async #askForOne(): Promise<void> {
    if (this.#isAskingForOne) {
      return;
    }
    this.#isAskingForOne = true;
    while (this.#waiting.length > 0) {
      const taskIds = this.#waiting.flatMap((request) => request._taskIds);
      // Not always the same one, so that one task's trouble isn't that of all.
      const first = taskIds[Math.floor(Math.random() * taskIds.length)]!;
      const asked = await this.#ask(first).catch((cause: unknown) => ({ cause }));
      for (const request of this.#waiting.splice(0)) {
        if ("cause" in asked) {
          this.#fail(request, request._taskIds, asked.cause);
          continue;
        }
        const rest = this.#giveHeld(request);
        if (asked._isShared && rest.length > 0) {
          this.#waiting.push({ ...request, _taskIds: rest });
        } else {
          rest.forEach((taskId) => void this.#askFor(taskId, request));
        }
      }
    }
    this.#isAskingForOne = false;
  }

  async #askFor(taskId: string, request: TokenRequest): Promise<void> {
    try {
      request._give((await this.#ask(taskId))._text, [taskId]);
    } catch (cause) {
      this.#fail(request, [taskId], cause);
    }
  }

  #fail({ _fail: fail }: TokenRequest, taskIds: readonly string[], cause: unknown): void {
    this.#failed(taskIds);
    fail(taskIds, cause);
  }

  #failed(taskIds: readonly string[]): void {
    const now = Date.now();
    for (const taskId of taskIds) {
      this.#failures.set(taskId, this._failures(taskId) + 1);
    }
    if (now >= this.#pauseEnd) {
      this.#pauseEnd = now + this.#backoff._next();
    }
  }

  /** Asks, unless that is being done. Rejects if the provider fails, gives no text, or takes over 15 s. */
  #ask(taskId: string): Promise<Token> {
    const asking =
      this.#asking.get(taskId) ?? this.#provided(taskId).finally(() => this.#asking.delete(taskId));
    this.#asking.set(taskId, asking);
    return asking;
  }

  async #provided(taskId: string): Promise<Token> {
    const timer = new Timer();
    const late = new Promise<never>((_, reject) => {
      timer._set(TOKEN_WITHIN_MS, () => reject(new Error("no token in 15 s")));
    });
    try {
      const text: unknown = await Promise.race([this._provider(taskId), late]);
      if (typeof text !== "string" || text === "") {
        throw new TypeError("the token is no text");
      }
      const token = readToken(text, taskId);
      for (const [asked, { _expiresAt: expiresAt }] of this.#held) {
        if (expiresAt <= Date.now()) {
          this.#held.delete(asked);
        }
      }
      this.#held.set(taskId, token);
      return token;
    } finally {
      timer._clear();
    }
  }
}

/** What a token says of itself. One that can't be read serves the task that it was asked for. */
function readToken(text: string, asked: string): Token {
  let claims: unknown;
  try {
    const base64 = text.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/");
    claims = JSON.parse(atob(base64));
  } catch {
    // The server will say what is wrong with it.
  }
  const { tasks, exp } = isObject(claims) ? claims : {};
  const names: string[] = Array.isArray(tasks)
    ? tasks.filter((name) => typeof name === "string")
    : [];
  const exact = new Set([asked, ...names]);
  const prefixes = names.filter((name) => name.endsWith("*")).map((name) => name.slice(0, -1));
  return {
    _text: text,
    _isShared: exact.size > 1,
    _names: (taskId) => exact.has(taskId) || prefixes.some((prefix) => taskId.startsWith(prefix)),
    _expiresAt: Math.max(typeof exp === "number" ? exp * 1000 : Infinity, Date.now() + FRESH_MS),
    _isOld: false,
  };
}
