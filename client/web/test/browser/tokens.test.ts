import { expect } from "vitest";
import { test } from "./support/installation.js";

test("a token that runs out is renewed without another connection", async ({
  broker,
  redis,
  watch,
}) => {
  await redis.progress("renewed", 10);
  const watcher = await watch(["renewed"], { token: broker.token(["renewed"], 3) });
  await watcher.seesPercentage("renewed", 10);
  await expect
    .poll(() => watcher.received.map(({ type }) => type), { timeout: 20_000 })
    .toContain("unsubscribed");
  const asked = watcher.sent.filter(({ type }) => type === "subscribe").length;
  expect(asked, "attempts with the old token").toBeLessThan(10);
  await watcher.takeToken(broker.token(["renewed"]));
  await redis.progress("renewed", 20);
  await watcher.seesPercentage("renewed", 20);
  await watcher.seesConnection("live");
  expect(watcher.sockets).toHaveLength(1);
});

test("a token for another task shows nothing of this one", async ({ broker, redis, watch }) => {
  await redis.progress("private", 10);
  const watcher = await watch(["private", "mine"], { token: broker.token(["mine"]) });
  await watcher.seesStatus("private", "refused");
  await watcher.seesStatus("mine", "waiting");
  const card = watcher.card("private");
  expect(await card.locator(".progressd-error").textContent()).toMatch(/may not see .* FORBIDDEN/);
  expect(await card.locator("[aria-valuenow]").count()).toBe(0);
  await watcher.takeToken(broker.token(["private", "mine"]));
  await watcher.seesPercentage("private", 10);
});

test("a token that is none is refused, and another one is taken", async ({
  broker,
  redis,
  watch,
}) => {
  await redis.progress("guarded", 10);
  const watcher = await watch(["guarded"], { token: "nonsense" });
  await watcher.seesStatus("guarded", "refused");
  const card = watcher.card("guarded");
  await card.getByText("Your permission to see this has run out").waitFor();
  await card.getByRole("button", { name: "Try again" }).waitFor();
  expect(await card.locator("[aria-valuenow]").count()).toBe(0);
  await watcher.page.getByText("Give another token").click();
  await watcher.page.getByLabel("Token").fill(broker.token(["guarded"]));
  await watcher.page.getByRole("button", { name: "Use it" }).click();
  await watcher.seesPercentage("guarded", 10);
});

test("without a token the page says where it belongs", async ({ watch }) => {
  const watcher = await watch(["any"], { token: "" });
  await watcher.page.getByText("A token says which tasks may be watched").waitFor();
  expect(watcher.sockets).toEqual([]);
});
