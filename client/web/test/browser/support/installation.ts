import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { expect, test as base } from "vitest";
import { Broker } from "./broker.js";
import { CHROMIUM, FLAGS } from "./chromium.js";
import { Proxy } from "./proxy.js";
import { Redis } from "./redis.js";
import { Watcher } from "./watcher.js";

const ACTION_WITHIN_MS = 15_000;

/** What each test gets: its broker and Redis are shared by the tests of a file. */
export interface Installation {
  readonly directory: string;
  readonly redis: Redis;
  readonly broker: Broker;
  readonly browser: Browser;
  /** A window of its own, with nothing in it. */
  readonly context: BrowserContext;
  /** In front of the broker, for tests that want one. */
  readonly proxy: Proxy;
  /** Opens the page for these tasks; options replace what is usual. */
  readonly watch: (
    tasks: readonly string[],
    options?: {
      readonly port?: number;
      readonly token?: string;
      readonly context?: BrowserContext;
    },
    prepare?: (page: Page) => Promise<unknown>,
  ) => Promise<Watcher>;
}

export const test = base.extend<Installation>({
  directory: [
    async ({}, use) => {
      const directory = mkdtempSync(join(tmpdir(), "progressd-browser-"));
      await use(directory);
      rmSync(directory, { recursive: true, force: true });
    },
    { scope: "file" },
  ],
  redis: [
    async ({ directory }, use) => {
      const redis = new Redis(directory);
      await redis.ready();
      await use(redis);
      await redis.end();
    },
    { scope: "file" },
  ],
  broker: [
    async ({ directory, redis }, use) => {
      const broker = new Broker(directory, redis.url);
      await broker.start();
      await use(broker);
      await broker.stop();
    },
    { scope: "file" },
  ],
  browser: [
    async ({}, use) => {
      const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
      await use(browser);
      await browser.close();
    },
    { scope: "file" },
  ],
  context: async ({ browser }, use) => {
    const context = await browser.newContext();
    context.setDefaultTimeout(ACTION_WITHIN_MS);
    await use(context);
    await context.close();
  },
  proxy: async ({ broker }, use) => {
    const proxy = new Proxy(broker.port);
    await proxy.start();
    await use(proxy);
    await proxy.end();
  },
  watch: async ({ broker, context }, use) => {
    const watchers: Watcher[] = [];
    await use(async (tasks, options = {}, prepare) => {
      const { port = broker.port, token = broker.token() } = options;
      const watcher = await Watcher.open(
        options.context ?? context,
        { port, token, tasks },
        prepare,
      );
      watchers.push(watcher);
      return watcher;
    });
    for (const { errors, requests } of watchers) {
      expect(errors, "errors in the page").toEqual([]);
      const telling = requests.filter((address) => /token|eyJ/.test(address));
      expect(telling, "requests whose address has a token").toEqual([]);
    }
  },
});
