/** Says in the console, once for each cause, what whoever runs the page has to set right. */
import type { Problem } from "./problem.js";

const ORIGIN = "is the page's origin in allowed-origins?";

/** What to look at, where code and message don't say it. */
const HINTS: Readonly<Record<string, string>> = {
  TOKEN_FAILED: "",
  UNAUTHORIZED: "",
  FORBIDDEN: "",
  BLOCKED: "is a proxy in the way? " + ORIGIN,
  POLL_FAILED: ORIGIN,
  NOT_FOUND: "is `url` right?",
  ORIGIN_NOT_ALLOWED: ORIGIN,
};

export class Warnings {
  readonly #given = new Set<string>();

  /** Takes a problem, or that WebSocket is `BLOCKED`; others than those above are passed over. */
  _give({ code, message, taskId }: Pick<Problem, "message" | "taskId"> & { code: string }): void {
    if (Object.hasOwn(HINTS, code) && !this.#given.has(code)) {
      this.#given.add(code);
      console.warn(`progressd: ${code}: ${message} ${HINTS[code]}`, taskId ?? "");
    }
  }
}
