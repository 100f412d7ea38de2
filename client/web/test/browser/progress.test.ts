import { expect } from "vitest";
import { test } from "./support/installation.js";

test("a job is seen live, from before its start to its result", async ({ redis, watch }) => {
  const watcher = await watch(["live"]);
  await watcher.seesStatus("live", "waiting");
  await redis.progress("live", 0, "downloading");
  await watcher.seesStatus("live", "running");
  for (const percentage of [25, 50, 99]) {
    await redis.progress("live", percentage);
    await watcher.seesPercentage("live", percentage);
  }
  const card = watcher.card("live");
  expect(await card.locator(".progressd-stage").allTextContents()).toEqual([
    "Downloading",
    "Transcribing",
  ]);
  const rev = await redis.complete("live");
  await watcher.seesStatus("live", "complete");
  const result = card.locator("a.progressd-result");
  expect(await result.getAttribute("href")).toBe("https://example.com/transcript.txt");
  await card.locator("summary").click();
  expect(await card.locator("[data-fact=rev]").textContent()).toBe(rev);
  expect(await card.locator("[data-fact=delay]").textContent()).toMatch(/^\d.*\sms; median \d/);
  expect(watcher.sockets).toHaveLength(1);
  // All has ended, so nothing is kept open.
  expect(await card.locator("[data-fact=transport]").textContent()).toMatch(/^none/);
});

test("a task's log is drawn while it is open, and holds the task's own events", async ({
  redis,
  watch,
}) => {
  const watcher = await watch(["one", "other"]);
  await redis.progress("one", 1);
  await redis.progress("other", 2);
  await watcher.seesPercentage("one", 1);
  await watcher.seesPercentage("other", 2);
  const lines = watcher.card("one").locator(".log li");
  expect(await lines.count()).toBe(0);
  await watcher.card("one").locator("summary").click();
  await lines.filter({ hasText: "1 %, transcribing" }).waitFor();
  await redis.progress("one", 3);
  await lines.filter({ hasText: "3 %, transcribing" }).waitFor();
  expect(await lines.filter({ hasText: "ConnectionChanged" }).count()).toBeGreaterThan(0);
  expect(await lines.filter({ hasText: "2 %" }).count()).toBe(0);
  await watcher.card("one").locator("summary").click();
  await expect.poll(() => watcher.page.locator(".log li").count()).toBe(0);
});

test("two tabs see the same, and a job that began earlier is seen at once", async ({
  redis,
  watch,
}) => {
  await redis.progress("both", 10);
  const first = await watch(["both"]);
  await first.seesPercentage("both", 10);
  await redis.progress("both", 20);
  const second = await watch(["both"]);
  await second.seesPercentage("both", 20);
  await redis.progress("both", 30);
  await Promise.all([first.seesPercentage("both", 30), second.seesPercentage("both", 30)]);
  await redis.complete("both");
  await Promise.all([first.seesStatus("both", "complete"), second.seesStatus("both", "complete")]);
});

test("several tasks share a connection, and come and go", async ({ redis, watch }) => {
  await redis.progress("one", 1);
  await redis.progress("two", 2);
  const watcher = await watch(["one"]);
  await watcher.seesPercentage("one", 1);
  await watcher.page.getByLabel("Task id").fill("two");
  await watcher.page.getByRole("button", { name: "Watch", exact: true }).click();
  await watcher.seesPercentage("two", 2);
  expect(watcher.page.url()).toMatch(/&tasks=one,two$/);
  await watcher.page.getByRole("button", { name: "Stop watching one" }).click();
  await watcher.card("one").waitFor({ state: "detached" });
  await expect
    .poll(() => watcher.sent.filter(({ type }) => type === "unsubscribe"))
    .toEqual([{ type: "unsubscribe", taskId: "one" }]);
  expect(watcher.sockets).toHaveLength(1);
});

test("a job that fails says why", async ({ redis, watch }) => {
  const watcher = await watch(["failing"]);
  await redis.progress("failing", 40);
  await watcher.seesPercentage("failing", 40);
  await redis.publish("failing", "error", { code: "NO_AUDIO", message: "There is no sound in it" });
  await watcher.seesStatus("failing", "failed");
  const text = await watcher.card("failing").locator(".progressd-error").textContent();
  expect(text).toBe("There is no sound in it NO_AUDIO");
});

test("a job that gives no sign of life is lost, and found again when it goes on", async ({
  redis,
  watch,
}) => {
  const watcher = await watch(["silent"]);
  await redis.progress("silent", 40);
  await watcher.seesPercentage("silent", 40);
  await redis.alive("silent", 1);
  await watcher.seesStatus("silent", "lost");
  await redis.progress("silent", 50);
  await watcher.seesStatus("silent", "running");
  await watcher.seesPercentage("silent", 50);
});

test("a bar runs backwards only when the job begins again", async ({ redis, watch }) => {
  const watcher = await watch(["again"]);
  const sees = async (rev: string, percentage: number) => {
    const fact = watcher.card("again").locator("[data-fact=rev]", { hasText: rev });
    await fact.waitFor({ state: "attached" });
    await watcher.seesPercentage("again", percentage);
  };
  await sees(await redis.progress("again", 60), 60);
  await sees(await redis.progress("again", 55), 60); // noise
  await sees(await redis.progress("again", 10), 10); // a second pass
  await sees(await redis.progress("again", 5, "mixing"), 5);
  await redis.reset("again");
  await watcher.seesStatus("again", "waiting");
  await redis.progress("again", 3);
  await watcher.seesPercentage("again", 3);
});
