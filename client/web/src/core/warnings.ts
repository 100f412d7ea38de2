/** Says in the console, once for each cause, what whoever runs the page has to set right. */
import type { Problem } from "./problem.js";

const HINTS: Readonly<Record<string, string>> = {
  TOKEN_FAILED: "the page gives no token",
  UNAUTHORIZED: "the broker refuses the token",
  FORBIDDEN: "the token doesn't name the task",
  BLOCKED: "no WebSocket; is a proxy in the way? is the page's origin in allowed-origins?",
  POLL_FAILED: "no answer; is the page's origin in allowed-origins?",
  NOT_FOUND: "no broker answers there; is `url` right?",
  ORIGIN_NOT_ALLOWED: "is the page's origin in allowed-origins?",
};

export class Warnings {
  readonly #given = new Set<string>();

  /** Takes a problem, or that WebSocket is `BLOCKED`; others than those above are passed over. */
  _give({ code, message, taskId }: Pick<Problem, "message" | "taskId"> & { code: string }): void {
    if (Object.hasOwn(HINTS, code) && !this.#given.has(code)) {
      this.#given.add(code);
      console.warn(`progressd: ${HINTS[code]} (${code}: ${message})`, taskId ?? "");
    }
  }
}
