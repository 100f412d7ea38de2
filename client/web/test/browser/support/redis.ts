import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { eventually } from "./deadline.js";
import { Process } from "./process.js";

const run = promisify(execFile);

/** A redis-server of the test's own, on a Unix socket, that keeps nothing. */
export class Redis {
  readonly #socket: string;
  readonly #server: Process;

  constructor(directory: string) {
    this.#socket = `${directory}/redis.sock`;
    const settings = ["--port", "0", "--unixsocket", this.#socket, "--dir", directory];
    this.#server = new Process("redis-server", [...settings, "--save", "", "--appendonly", "no"]);
  }

  get url(): string {
    return `unix://${this.#socket}`;
  }

  async ready(): Promise<void> {
    await eventually("redis-server answers", () =>
      this.#cli("PING").then(
        (answer) => answer === "PONG",
        () => false,
      ),
    );
  }

  /** Publishes a message of a task; returns its rev. */
  async publish(taskId: string, type: string, payload: object): Promise<string> {
    return this.#call("progress_publish", taskId, type, JSON.stringify(payload));
  }

  async progress(taskId: string, percentage: number, stage = "transcribing"): Promise<string> {
    return this.publish(taskId, "progress_update", { percentage, stage });
  }

  /** Publishes the same progress of many tasks, in one go. */
  async progressOfAll(taskIds: readonly string[], percentage: number): Promise<void> {
    const payload = JSON.stringify({ percentage, stage: "transcribing" });
    const lines = taskIds.map(
      (taskId) => `FCALL progress_publish 1 progress:${taskId} progress_update '${payload}'`,
    );
    const cli = run("redis-cli", ["-e", "-s", this.#socket]);
    cli.child.stdin!.end(lines.join("\n"));
    await cli;
  }

  async complete(taskId: string): Promise<string> {
    const payload = { resultUrl: "https://example.com/transcript.txt", duration: 71.5 };
    return this.publish(taskId, "complete", payload);
  }

  /** The job's sign of life: without another it counts as lost after so many seconds. */
  async alive(taskId: string, seconds: number): Promise<void> {
    await this.#call("progress_alive", taskId, String(seconds));
  }

  /** Begins a new run. */
  async reset(taskId: string): Promise<string> {
    return this.#call("progress_reset", taskId);
  }

  async end(): Promise<void> {
    await this.#server.end();
  }

  async #call(name: string, taskId: string, ...args: string[]): Promise<string> {
    return this.#cli("FCALL", name, "1", `progress:${taskId}`, ...args);
  }

  async #cli(...words: string[]): Promise<string> {
    const { stdout } = await run("redis-cli", ["-e", "-s", this.#socket, ...words]);
    return stdout.trim();
  }
}
