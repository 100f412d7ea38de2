import { expect } from "vitest";
import { CorePage } from "./support/core-page.js";
import { test } from "./support/installation.js";

/** A person waits for seconds; the machine that runs the tests may be busy. */
const SOON_MS = 15_000;

// 1,000 fit into a connection; what is more is polled.
test.for([141, 500, 1_200])(
  "a page with %d tasks has all of them, also after each reconnect",
  { timeout: 120_000 },
  async (count, { broker, redis, context }) => {
    const tasks = Array.from({ length: count }, (_, i) => `many-${count}-${i}`);
    await redis.progressOfAll(tasks, 10);
    const token = broker.token([`many-${count}-*`]);
    const page = await CorePage.open(context, broker.port, token, tasks);
    const times = [await page.allAt(10, count, SOON_MS)];
    for (const percentage of [20, 30]) {
      await broker.killWorkers();
      await redis.progressOfAll(tasks, percentage);
      times.push(await page.allAt(percentage, count, SOON_MS));
    }
    const { sent, polls, problems, connection } = await page.summary();
    console.log(`${count} tasks: all there after ${times.join(", ")} ms; ${sent} messages`);
    expect(connection).toBe("live");
    expect(problems.filter((code) => !/CONNECTION_LOST|TOO_MANY|POLL_FAILED/.test(code))).toEqual(
      [],
    );
    expect(sent, "messages to subscribe with").toBeLessThan(20);
    expect(polls > 0, "polls").toBe(count > 1_000);
  },
);
