import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { BrowserContext, Page } from "playwright-core";
import { eventually } from "./deadline.js";

const core = fileURLToPath(new URL("../../../src/index.ts", import.meta.url));

/** What the page's client has come to. */
export interface Summary {
  readonly connection: string;
  /** How many tasks are so many percent done, up to date and without a refusal. */
  readonly fresh: Readonly<Record<number, number>>;
  readonly problems: readonly string[];
  /** The messages that were sent over WebSocket, and the polls. */
  readonly sent: number;
  readonly polls: number;
}

/** A page of a client alone, without components: for more tasks than a person looks at. */
export class CorePage {
  private constructor(private readonly page: Page) {}

  static async open(
    context: BrowserContext,
    port: number,
    token: string,
    tasks: readonly string[],
  ): Promise<CorePage> {
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${port}/healthz-of-no-page`); // any document of the origin
    const { outputFiles } = await build({
      entryPoints: [core],
      bundle: true,
      format: "iife",
      globalName: "progressd",
      target: "es2022",
      write: false,
    });
    await page.evaluate(`${outputFiles[0]!.text}; globalThis.progressd = progressd;`);
    await page.evaluate(
      ({ token, tasks }) => {
        const world = globalThis as any;
        const counts = (world.counts = { sent: 0, polls: 0, problems: [] as string[] });
        class Counted extends WebSocket {
          override send(data: string) {
            counts.sent++;
            super.send(data);
          }
        }
        const client = (world.client = new world.progressd.ProgressClient({
          url: location.origin,
          token: () => token,
          WebSocket: Counted,
          fetch: (url: string, init: RequestInit) => {
            counts.polls++;
            return fetch(url, init);
          },
        }));
        client.addEventListener("ProblemReported", ({ detail }: CustomEvent) => {
          counts.problems.push(detail.code);
        });
        world.tasks = tasks;
        tasks.forEach((taskId) => client.subscribe(taskId));
      },
      { token, tasks },
    );
    return new CorePage(page);
  }

  summary(): Promise<Summary> {
    return this.page.evaluate(() => {
      const { client, tasks, counts } = globalThis as any;
      const fresh: Record<number, number> = {};
      for (const taskId of tasks) {
        const { percentage, stale, refusal } = client.getState(taskId);
        if (percentage !== null && !stale && !refusal) {
          fresh[percentage] = (fresh[percentage] ?? 0) + 1;
        }
      }
      return { connection: client.connection, fresh, ...counts };
    });
  }

  /** Waits until all tasks are so many percent done; returns how long that took, in milliseconds. */
  async allAt(percentage: number, count: number, withinMs: number): Promise<number> {
    const began = Date.now();
    let last: Summary | undefined;
    try {
      await eventually(
        `all are at ${percentage} %`,
        async () => (last = await this.summary()).fresh[percentage] === count,
        withinMs,
      );
    } catch (error) {
      throw new Error(`${String(error)}: ${JSON.stringify(last)}`);
    }
    return Date.now() - began;
  }
}
