import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createProgressStore } from "../src/zustand.js";
import { TASK, progress, setUp, subscribed } from "./support/fake-server.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("follows the client, and keeps the last state of what is watched no more", async () => {
  const { client, socket } = setUp();
  const ending = new AbortController();
  const store = createProgressStore(client, { signal: ending.signal });
  const stop = store.getState().watch(TASK);
  expect(store.getState().tasks[TASK]!.status).toBe("connecting");
  await socket().open();
  socket().tell(subscribed(null));
  socket().tell(progress(1, 10));
  expect(store.getState()).toMatchObject({
    connection: "live",
    tasks: { [TASK]: { percentage: 10 } },
  });
  stop();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(store.getState()).toMatchObject({
    connection: "idle",
    tasks: { [TASK]: { percentage: 10 } },
  });
  store.getState().remove(TASK);
  expect(store.getState().tasks).toEqual({});
  ending.abort();
  client.subscribe(TASK);
  expect(store.getState().connection).toBe("idle");
});
