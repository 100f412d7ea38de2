import { spawn } from "node:child_process";
import type { ChildProcess, SpawnOptions } from "node:child_process";
import { once } from "node:events";

const END_WITHIN_MS = 15_000;

/** A program that a test started. */
export class Process {
  /** All that it wrote to its standard error. */
  log = "";
  readonly #child: ChildProcess;

  constructor(program: string, args: readonly string[], options: SpawnOptions = {}) {
    this.#child = spawn(program, args, { ...options, stdio: ["ignore", "ignore", "pipe"] });
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => (this.log += text));
    this.#child.on("error", (error) => (this.log += String(error)));
  }

  get ended(): boolean {
    const { exitCode, signalCode, pid } = this.#child;
    return pid === undefined || exitCode !== null || signalCode !== null;
  }

  /** Ends it, with more force if it takes too long; resolves when it has ended. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.ended) {
      return;
    }
    const exit = once(this.#child, "exit");
    this.#child.kill(signal);
    const insist = setTimeout(() => this.#child.kill("SIGKILL"), END_WITHIN_MS);
    await exit;
    clearTimeout(insist);
  }
}
