import { Timer } from "./timer.js";

/**
 * Gives a token (JWT) that allows to watch the task; called again whenever a fresh one is needed.
 * Rejecting, or giving nothing, is no harm: it is called again after a pause.
 */
export type TokenProvider = (taskId: string) => string | Promise<string>;

const TOKEN_WITHIN_MS = 15_000;

/** The tokens of the tasks, as far as they were asked for. They are kept in memory only. */
export class Tokens {
  readonly #held = new Map<string, string>();

  constructor(private readonly provider: TokenProvider) {}

  /** Asks for a fresh token. Rejects if the provider fails, gives no text, or takes over 15 s. */
  async ask(taskId: string): Promise<string> {
    const timer = new Timer();
    const late = new Promise<never>((_, reject) => {
      timer.set(TOKEN_WITHIN_MS, () => reject(new Error("no token in 15 s")));
    });
    try {
      const token: unknown = await Promise.race([this.provider(taskId), late]);
      if (typeof token !== "string" || token === "") {
        throw new TypeError("the token is no text");
      }
      this.#held.set(taskId, token);
      return token;
    } finally {
      timer.clear();
    }
  }

  /** The last token, or a fresh one if there is none. Rejects as `ask` does. */
  async get(taskId: string): Promise<string> {
    return this.#held.get(taskId) ?? this.ask(taskId);
  }

  /** The task's token is of no use any more. */
  forget(taskId: string): void {
    this.#held.delete(taskId);
  }
}
