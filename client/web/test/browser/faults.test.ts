import { expect } from "vitest";
import { withPlainChromium } from "./support/chromium.js";
import { eventually } from "./support/deadline.js";
import { test } from "./support/installation.js";

test("a worker is killed in the middle", async ({ broker, redis, watch }) => {
  const watcher = await watch(["worker"]);
  await redis.progress("worker", 10);
  await watcher.seesPercentage("worker", 10);
  await broker.killWorkers();
  await redis.progress("worker", 20);
  await watcher.seesPercentage("worker", 20);
  await watcher.seesConnection("live");
  await redis.complete("worker");
  await watcher.seesStatus("worker", "complete");
});

test("the broker is restarted, and the job ends meanwhile", async ({ broker, redis, watch }) => {
  const watcher = await watch(["restart", "during"]);
  await redis.progress("restart", 10);
  await redis.progress("during", 10);
  await watcher.seesPercentage("during", 10);
  await broker.stop();
  await watcher.seesConnection("reconnecting");
  await watcher.page.locator("[data-task=restart] [data-stale]").waitFor();
  await watcher.seesPercentage("restart", 10);
  await redis.progress("restart", 60);
  await redis.complete("during");
  await broker.start();
  await watcher.seesPercentage("restart", 60);
  await watcher.seesStatus("during", "complete");
  await watcher.seesConnection("live");
});

test("polling takes over at once where WebSocket is refused, until it is allowed", async ({
  proxy,
  redis,
  watch,
}) => {
  proxy.upgrades = "refuse";
  await redis.progress("refused", 10);
  const watcher = await watch(["refused"], { port: proxy.port }, async (page) => {
    await page.clock.install();
    // The pauses between attempts are drawn by lot: the longest ones.
    await page.addInitScript(() => (Math.random = () => 0.99));
  });
  await watcher.seesPercentage("refused", 10);
  await watcher.seesConnection("polling");
  expect(proxy.stopped, "attempts before the first poll").toBeLessThan(3);
  await redis.progress("refused", 20);
  await watcher.seesPercentage("refused", 20);
  expect(watcher.received).toEqual([]);

  // The next page in the tab knows, and tries WebSocket after a minute. In the page's time, tick by
  // tick: a jump would look as if the machine had slept.
  const tried = watcher.sockets.length;
  await watcher.page.reload();
  await watcher.seesPercentage("refused", 20);
  expect(watcher.sockets).toHaveLength(tried);
  proxy.upgrades = "pass";
  await watcher.page.clock.runFor(61_000);
  await watcher.seesConnection("live");
  await redis.progress("refused", 30);
  await watcher.seesPercentage("refused", 30);
  await expect.poll(() => watcher.received.map(({ type }) => type)).toContain("progress_update");
});

test("polling takes over within seconds where WebSocket gets no answer", async ({
  proxy,
  redis,
  watch,
}) => {
  proxy.upgrades = "ignore";
  await redis.progress("ignored", 10);
  const watcher = await watch(["ignored"], { port: proxy.port });
  await watcher.seesPercentage("ignored", 10);
  // A second attempt comes only when the first has been given up, after 10 s.
  expect(proxy.stopped).toBe(1);
});

test("without a network the page says so, and catches up with it", async ({
  context,
  proxy,
  redis,
  watch,
}) => {
  const watcher = await watch(["network"], { port: proxy.port });
  await redis.progress("network", 10);
  await watcher.seesPercentage("network", 10);
  await context.setOffline(true);
  proxy.cut(); // the tools let open connections be
  await watcher.seesConnection("offline");
  await watcher.page.locator("[data-task=network] [data-stale]").waitFor();
  await redis.progress("network", 20);
  await context.setOffline(false);
  await watcher.seesPercentage("network", 20);
  await watcher.seesConnection("live");
});

test("a hidden tab goes on, and makes sure of its connection when it is seen again", async ({
  directory,
  redis,
  watch,
}) => {
  await withPlainChromium(`${directory}/profile`, async (browser) => {
    const context = browser.contexts()[0]!;
    const watcher = await watch(["hidden"], { context });
    await redis.progress("hidden", 10);
    await watcher.seesPercentage("hidden", 10);
    const other = await context.newPage();
    await other.bringToFront();
    await eventually("the tab is hidden", () =>
      watcher.page.evaluate(() => document.visibilityState === "hidden"),
    );
    await redis.progress("hidden", 20);
    await expect.poll(() => watcher.received.at(-1)?.payload).toMatchObject({ percentage: 20 });
    const pings = () => watcher.sent.filter(({ type }) => type === "ping").length;
    expect(pings()).toBe(0);
    await watcher.page.bringToFront();
    await expect.poll(pings).toBe(1);
    await watcher.seesPercentage("hidden", 20);
  });
});
