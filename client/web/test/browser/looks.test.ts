import { mkdirSync } from "node:fs";
import { expect } from "vitest";
import type { Installation } from "./support/installation.js";
import { test } from "./support/installation.js";
import type { Watcher } from "./support/watcher.js";

/** Pictures of all states go to the folder of this name, if there is one. */
const FOLDER = process.env.PROGRESSD_SCREENSHOTS;
if (FOLDER) {
  mkdirSync(FOLDER, { recursive: true });
}

/** Tasks, each named after the state that it is brought into. */
async function playAll(redis: Installation["redis"]): Promise<readonly string[]> {
  for (const taskId of ["running", "interrupted", "lost", "complete", "failed", "refused"]) {
    await redis.progress(taskId, 3, "downloading");
    await redis.progress(taskId, 42, "speech_to_text");
  }
  const estimate = { estimatedTimeRemaining: 250, confidence: 0.8 };
  await redis.publish("running", "time_estimate", estimate);
  const full = { code: "DISK_FULL", message: "No room for the transcript", retryable: true };
  await redis.publish("interrupted", "error", full);
  await redis.alive("lost", 1);
  await redis.complete("complete");
  const unreadable = { code: "NO_AUDIO", message: "The recording has no sound in it" };
  await redis.publish("failed", "error", unreadable);
  return ["running", "complete", "failed", "interrupted", "lost", "waiting", "refused"];
}

/** Takes pictures of the page, light and dark, and checks that nothing sticks out of it. */
async function picture({ page }: Watcher, name: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const overflow = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return scrollWidth - clientWidth;
    });
    expect(overflow, `${name} is wider than the window`).toBe(0);
    if (FOLDER) {
      await page.screenshot({ path: `${FOLDER}/${name}-${colorScheme}.png`, fullPage: true });
    }
  }
}

test("every state of a task has a face, on a desk and on a phone", async ({
  broker,
  redis,
  watch,
}) => {
  const tasks = await playAll(redis);
  const token = broker.token(tasks.filter((taskId) => taskId !== "refused"));
  const watcher = await watch(tasks, { token });
  for (const status of tasks) {
    await watcher.seesStatus(status, status);
  }
  await picture(watcher, "desk");
  await watcher.page.setViewportSize({ width: 360, height: 740 });
  await picture(watcher, "phone");
  await watcher.card("running").locator("summary").click();
  await redis.progress("running", 43, "speech_to_text");
  await watcher.seesPercentage("running", 43);
  await picture(watcher, "phone-open");
  await watcher.page.setViewportSize({ width: 1280, height: 720 });
  await watcher.card("complete").locator("summary").click();
  await picture(watcher, "desk-open");
});

test("long words stay inside narrow cards", async ({ broker, redis, watch }) => {
  const long = "a-recording-of-a-name-that-never-ends".repeat(4).slice(0, 128);
  const word = "Donaudampfschifffahrtsgesellschaft".repeat(6);
  await redis.progress(long, 99.5, `${word.slice(0, 60)}_and_more_words_than_fit`);
  const tasks = [long, "words", "not-mine"];
  await redis.progress("words", 7);
  await redis.publish("words", "error", { code: "A_LONG_CODE".repeat(5), message: word });
  const token = broker.token(tasks.slice(0, 2));
  const watcher = await watch(tasks, { token });
  await watcher.page.setViewportSize({ width: 280, height: 700 });
  await watcher.seesPercentage(long, 99);
  await watcher.seesStatus("words", "failed");
  await watcher.seesStatus("not-mine", "refused");
  await picture(watcher, "narrow");
});

test("every state of the connection has a face", async ({ context, proxy, redis, watch }) => {
  await redis.progress("talk", 42, "speech_to_text");
  const options = { port: proxy.port };
  proxy.upgrades = "ignore";
  const watcher = await watch(["talk"], options);
  await watcher.seesStatus("talk", "connecting");
  await picture(watcher, "connecting");
  proxy.upgrades = "pass";
  await watcher.page.reload();
  await watcher.seesConnection("live");
  await picture(watcher, "live");
  proxy.upgrades = "ignore";
  proxy.cut();
  await watcher.seesConnection("reconnecting");
  await picture(watcher, "reconnecting");
  await context.setOffline(true);
  await watcher.seesConnection("offline");
  await picture(watcher, "offline");
  await context.setOffline(false);
  proxy.upgrades = "refuse";
  await watcher.page.addInitScript(() => (Math.random = () => 0));
  await watcher.page.reload();
  await watcher.seesConnection("polling");
  await watcher.seesPercentage("talk", 42);
  await picture(watcher, "polling");
});

test("a page with nothing to watch says what to do", async ({ broker, watch }) => {
  const without = await watch([], { token: "" });
  await without.page.getByText("A token says").waitFor();
  await picture(without, "no-token");
  const empty = await watch([], { token: broker.token() });
  await empty.page.getByText("Nothing is watched").waitFor();
  await picture(empty, "no-task");
});
