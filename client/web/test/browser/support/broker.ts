import { createHmac } from "node:crypto";
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "./deadline.js";
import { Process } from "./process.js";

const KEY = "a key that only these tests know, and long enough";
const root = fileURLToPath(new URL("../../../../../", import.meta.url));
const program = resolve(process.env.PROGRESSD_BUILD ?? `${root}/build`, "broker/progressd");
const page = fileURLToPath(new URL("../../../demo/dist", import.meta.url));

interface Worker {
  readonly pid: number;
  readonly state: string;
}

/** The real progressd, which serves the page. It keeps its address when it is started again. */
export class Broker {
  #address = "127.0.0.1:0";
  #admin = "";
  #process: Process | null = null;

  constructor(
    private readonly directory: string,
    private readonly redisUrl: string,
    private readonly options: readonly string[] = [],
  ) {
    writeFileSync(this.keyFile, KEY, { mode: 0o600 });
  }

  get keyFile(): string {
    return `${this.directory}/jwt.key`;
  }

  get port(): number {
    return Number(this.#address.split(":")[1]);
  }

  async start(): Promise<void> {
    const broker = new Process(program, [
      ...["--listen", this.#address, "--admin-listen", "127.0.0.1:0", "--workers", "2"],
      ...["--state-dir", `${this.directory}/state`, "--redis-url", this.redisUrl],
      ...["--jwt-key", `HS256:${this.keyFile}`, "--web-root", page],
      // So that what nobody tells the broker of is found within the tests' time, and tokens expire.
      ...["--resync-interval", "1", "--jwt-leeway", "1", "--drain-timeout", "0", ...this.options],
    ]);
    this.#process = broker;
    const addressOf = (message: string) =>
      new RegExp(` msg=${message}.* address=(\\S+)`).exec(broker.log)?.[1];
    await eventually("progressd is ready", async () => {
      if (broker.ended) {
        throw new Error(`progressd ended:\n${broker.log}`);
      }
      this.#address = addressOf("listening") ?? this.#address;
      this.#admin = addressOf('"admin listening"') ?? "";
      return this.#admin !== "" && (await fetch(`http://${this.#admin}/readyz`)).ok;
    });
  }

  /** Ends it in good order; throws if a sanitizer had anything to report. */
  async stop(): Promise<void> {
    await this.#process?.end();
    const log = this.#process?.log ?? "";
    this.#process = null;
    if (/ERROR: \w*Sanitizer|runtime error:/.test(log)) {
      throw new Error(`a sanitizer reports:\n${log}`);
    }
  }

  /** Kills the workers, each in the middle of what it does; resolves when others are ready. */
  async killWorkers(): Promise<void> {
    const killed = (await this.#workers()).map(({ pid }) => pid);
    killed.forEach((pid) => process.kill(pid, "SIGKILL"));
    await eventually("other workers are ready", async () =>
      (await this.#workers()).every(({ pid, state }) => state === "ready" && !killed.includes(pid)),
    );
  }

  /** A token for the tasks, or with `*` at the end for all that begin so. */
  token(tasks: readonly string[] = ["*"], forSeconds = 3600): string {
    const exp = Math.floor(Date.now() / 1000) + forSeconds;
    const parts = [
      { alg: "HS256", typ: "JWT" },
      { tasks, exp },
    ];
    const signed = parts.map((part) => base64Url(JSON.stringify(part))).join(".");
    return `${signed}.${createHmac("sha256", KEY).update(signed).digest("base64url")}`;
  }

  async #workers(): Promise<readonly Worker[]> {
    const status = (await (await fetch(`http://${this.#admin}/status`)).json()) as {
      readonly workers: readonly Worker[];
    };
    return status.workers;
  }
}

function base64Url(text: string): string {
  return Buffer.from(text).toString("base64url");
}
