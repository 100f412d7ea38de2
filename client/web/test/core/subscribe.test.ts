import { getEventListeners } from "node:events";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  GATHER_MS,
  TASK,
  complete,
  live,
  progress,
  refused,
  rev,
  setUp,
  settle,
  subscribed,
} from "../support/fake-server.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test("connects at the first subscription, and subscribes with a token in a message", async () => {
  const { client, sockets, socket } = setUp();
  expect(sockets).toHaveLength(0);
  client.subscribe(TASK);
  expect(client.connection).toBe("reconnecting");
  await socket().open();
  expect(socket().url).toBe("wss://broker.example/ws/progress");
  expect(socket().said).toEqual([{ type: "subscribe", taskId: TASK, token: "token of 42, 1" }]);
});

test("is live once the server said that it is subscribed", async () => {
  const { client, socket } = setUp();
  client.subscribe(TASK);
  await socket().open();
  expect(client.connection).toBe("reconnecting");
  socket().tell(subscribed(null));
  expect(client.connection).toBe("live");
  expect(client.getState(TASK)!.status).toBe("waiting");
});

test("takes one connection for any number of tasks, and one subscription a task", async () => {
  const { client, sockets, socket } = setUp();
  client.subscribe("a");
  client.subscribe("b");
  await socket().open();
  client.subscribe("c");
  client.subscribe("a");
  await settle();
  expect(sockets).toHaveLength(1);
  expect(
    socket()
      .heard("subscribe")
      .map(({ taskId }) => taskId)
      .sort(),
  ).toEqual(["a", "b", "c"]);
});

test("unsubscribes when the last watcher left, and not before a second has passed", async () => {
  const { client, socket, stop } = await live();
  const stopOther = client.subscribe(TASK);
  stop();
  stop();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(socket().heard("unsubscribe")).toHaveLength(0);
  client.subscribe("other");
  stopOther();
  await vi.advanceTimersByTimeAsync(999);
  expect(socket().heard("unsubscribe")).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(1 + GATHER_MS);
  expect(socket().heard("unsubscribe")).toEqual([{ type: "unsubscribe", taskId: TASK }]);
  expect(client.getState(TASK)).toBeUndefined();
});

test("keeps the subscription when somebody comes back within a second", async () => {
  const { client, socket, stop } = await live();
  stop();
  client.subscribe(TASK);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(socket().heard("unsubscribe")).toHaveLength(0);
  expect(socket().heard("subscribe")).toHaveLength(1);
});

test("closes by itself when nobody watches anything", async () => {
  const { client, socket, stop } = await live();
  stop();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(socket().closedByClient).toBe(1000);
  expect(client.connection).toBe("idle");
});

test("closes by itself when all its tasks have ended, and keeps what it knows", async () => {
  const { client, sockets, socket } = await live();
  client.subscribe("other");
  await settle();
  socket().tell(complete(5));
  expect(socket().closedByClient).toBeUndefined();
  socket().tell(complete(6, "other"));
  expect(socket().closedByClient).toBe(1000);
  expect(client.connection).toBe("idle");
  expect(client.getState(TASK)).toMatchObject({ status: "complete", stale: false, done: true });
  await vi.advanceTimersByTimeAsync(300_000);
  expect(sockets).toHaveLength(1);
});

test("stops watching when a signal is aborted", async () => {
  const { client, socket } = setUp();
  const watching = new AbortController();
  client.subscribe(TASK, { signal: watching.signal });
  await socket().open();
  watching.abort();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(client.connection).toBe("idle");
  client.subscribe(TASK, { signal: watching.signal });
  expect(client.getState(TASK)).toBeUndefined();
});

test("leaves nothing on a signal when the watching ends before it", async () => {
  const { client } = setUp();
  const { signal } = new AbortController();
  const ends = ["a", "b"].map((taskId) => client.subscribe(taskId, { signal }));
  expect(getEventListeners(signal, "abort")).toHaveLength(2);
  ends.forEach((end) => end());
  expect(getEventListeners(signal, "abort")).toHaveLength(0);
});

test("disconnects until it is told to connect, and when its own signal is aborted", async () => {
  const ending = new AbortController();
  const { client, sockets, socket } = await live({ signal: ending.signal });
  socket().tell(progress(1, 10));
  client.disconnect();
  expect(socket().closedByClient).toBe(1000);
  expect(client.connection).toBe("idle");
  expect(client.getState(TASK)).toMatchObject({ percentage: 10, stale: true });
  await vi.advanceTimersByTimeAsync(300_000);
  expect(sockets).toHaveLength(1);
  client.connect();
  await socket().open();
  expect(socket().heard("subscribe")[0]).toMatchObject({ rev: rev(1) });
  ending.abort();
  expect(client.connection).toBe("idle");
});

test("asks for the state again when told to, of a task that has ended over a new connection", async () => {
  const { client, sockets, socket } = await live();
  socket().tell(progress(1, 10));
  client.refresh(TASK);
  expect(socket().heard("get_state")).toEqual([{ type: "get_state", taskId: TASK, rev: rev(1) }]);
  socket().tell(subscribed(rev(1)));
  socket().tell(complete(2));
  client.refresh(TASK);
  expect(sockets).toHaveLength(2);
  await socket().open();
  socket().tell(subscribed(rev(9, "run2")));
  expect(client.getState(TASK)!.status, "before the state has come").toBe("complete");
  socket().tell(progress(9, 3, "again", "run2"));
  expect(client.getState(TASK)).toMatchObject({ status: "running", percentage: 3, result: null });
});

test("a renewed look at a task that has still ended closes again", async () => {
  const { client, socket } = await live();
  socket().tell(complete(2));
  client.refresh(TASK);
  await socket().open();
  socket().tell(subscribed(rev(2)));
  expect(client.connection).toBe("idle");
});

test("a task that may not be watched is refused, and the others go on", async () => {
  const { client, socket, problems } = await live();
  client.subscribe("secret");
  await settle();
  socket().tell(refused("FORBIDDEN", false, "secret"));
  expect(client.getState("secret")).toMatchObject({
    status: "refused",
    refusal: { code: "FORBIDDEN" },
  });
  expect(problems()).toEqual(["FORBIDDEN"]);
  expect(client.connection).toBe("live");
  await vi.advanceTimersByTimeAsync(20_000);
  expect(socket().heard("subscribe")).toHaveLength(2);
});

test("what is no task id is refused without asking", () => {
  const { client, sockets } = setUp();
  for (const taskId of ["", "a b", "ü", "x".repeat(129), "a/b"]) {
    client.subscribe(taskId);
    expect(client.getState(taskId)).toMatchObject({ refusal: { code: "INVALID_TASK_ID" } });
  }
  expect(sockets).toHaveLength(0);
});

test("subscribes again after a refusal that may pass, with growing pauses", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0.999);
  const { socket } = await live();
  for (const pause of [1_000, 2_000, 4_000]) {
    const before = socket().heard("subscribe").length;
    socket().tell(refused("UNAVAILABLE", true));
    await vi.advanceTimersByTimeAsync(pause * 0.99);
    expect(socket().heard("subscribe")).toHaveLength(before);
    await vi.advanceTimersByTimeAsync(pause * 0.01 + GATHER_MS);
    expect(socket().heard("subscribe")).toHaveLength(before + 1);
  }
  socket().tell(subscribed(null)); // the next refusal is the first again
  socket().tell(refused("UNAVAILABLE", true));
  await vi.advanceTimersByTimeAsync(1_000 + GATHER_MS);
  expect(socket().heard("subscribe")).toHaveLength(5);
});
