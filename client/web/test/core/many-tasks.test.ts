import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  GATHER_MS,
  TASK,
  answer,
  complete,
  jwt,
  live,
  progress,
  refused,
  rev,
  setUp,
  state,
  subscribed,
} from "../support/fake-server.js";

const MESSAGE_MAX = 16 * 1024;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A client that watches so many tasks under one token, over an open connection. */
async function watching(count: number, name = (i: number) => `task-${i}`) {
  const token = vi.fn(async () => jwt(["*"]));
  const world = setUp({ token });
  const tasks = Array.from({ length: count }, (_, i) => name(i));
  tasks.forEach((taskId) => world.client.subscribe(taskId));
  await world.socket().open();
  return { ...world, token, tasks };
}

test.each([141, 500, 1_200])("%d tasks take one token and few messages", async (count) => {
  const { client, socket, token, tasks } = await watching(count);
  expect(token).toHaveBeenCalledTimes(1);
  const said = socket().heard("subscribe");
  expect(said.flatMap(({ taskIds }) => taskIds)).toEqual(tasks);
  expect(said.length).toBeLessThan(5);
  tasks.forEach((taskId) => socket().tell(subscribed(null, taskId)));
  expect(client.getState(tasks.at(-1)!)!.status).toBe("waiting");
  await vi.advanceTimersByTimeAsync(25_000);
  expect(socket().heard("subscribe")).toHaveLength(said.length);
});

test("no message is longer than a server takes, however long the names are", async () => {
  const { socket, tasks } = await watching(500, (i) => `${i}`.padEnd(128, "x"));
  const said = socket().heard("subscribe");
  expect(Math.max(...said.map((message) => JSON.stringify(message).length))).toBeLessThan(
    MESSAGE_MAX,
  );
  expect(said.flatMap(({ taskIds }) => taskIds)).toEqual(tasks);
  expect(said.length).toBeLessThan(10);
});

test("each task is resumed from what is held of it", async () => {
  const { socket, tasks } = await watching(3);
  socket().tell(subscribed(rev(7), tasks[1]));
  socket().tell({ ...progress(7, 10), taskId: tasks[1] });
  socket().drop();
  await vi.advanceTimersByTimeAsync(1_000);
  await socket().open();
  expect(socket().said).toMatchObject([{ taskIds: tasks, revs: [null, rev(7), null] }]);
});

test("tasks under tokens of their own are asked for one by one, all at once", async () => {
  const { client, socket, tokens } = setUp();
  const tasks = ["a", "b", "c"];
  tasks.forEach((taskId) => client.subscribe(taskId));
  await socket().open();
  expect(
    socket()
      .said.map(({ taskId }) => taskId)
      .sort(),
  ).toEqual(tasks);
  expect(tokens).toHaveBeenCalledTimes(3);
});

test("one task without a token isn't the trouble of the others", async () => {
  // It is the first to be asked for, and not so the next time.
  vi.spyOn(Math, "random").mockReturnValueOnce(0).mockReturnValue(0.9);
  const { client, socket, tokens } = setUp();
  tokens.mockImplementation(async (taskId) => {
    if (taskId === "a") {
      throw new Error("not yours");
    }
    return jwt([taskId]);
  });
  ["a", "b", "c"].forEach((taskId) => client.subscribe(taskId));
  await socket().open();
  await vi.advanceTimersByTimeAsync(1_000 + GATHER_MS);
  expect(
    socket()
      .said.map(({ taskId }) => taskId)
      .sort(),
  ).toEqual(["b", "c"]);
});

test("a server that doesn't know lists is asked one by one", async () => {
  const { socket, tasks } = await watching(3);
  socket().tell(refused("INVALID_MESSAGE", false, ""));
  await vi.advanceTimersByTimeAsync(GATHER_MS);
  expect(
    socket()
      .said.slice(1)
      .map(({ taskId }) => taskId),
  ).toEqual(tasks);
});

test("what comes too fast for a server is asked for again until it has its answer", async () => {
  const { client, socket, tasks } = await watching(60);
  socket().tell(refused("INVALID_MESSAGE", false, ""));
  await vi.advanceTimersByTimeAsync(GATHER_MS);
  tasks.slice(0, 40).forEach((taskId) => socket().tell(subscribed(null, taskId)));
  socket().tell(refused("RATE_LIMITED", true, ""));
  socket().said.splice(0);
  await vi.advanceTimersByTimeAsync(1_000 + GATHER_MS);
  expect(new Set(socket().said.map(({ taskId }) => taskId))).toEqual(new Set(tasks.slice(40)));
  tasks.slice(40).forEach((taskId) => socket().tell(subscribed(null, taskId)));
  expect(tasks.every((taskId) => client.getState(taskId)!.status === "waiting")).toBe(true);
});

test("a request without an answer is sent again, then the connection is replaced", async () => {
  const { sockets, socket, tasks, problems } = await watching(3);
  socket().tell(subscribed(null, tasks[0]));
  await vi.advanceTimersByTimeAsync(10_000 + GATHER_MS);
  expect(socket().heard("subscribe")[1]).toMatchObject({ taskIds: tasks.slice(1) });
  socket().tell(subscribed(null, tasks[1]));
  await vi.advanceTimersByTimeAsync(9_999);
  expect(socket().closedByClient).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  expect(sockets[0]!.closedByClient).toBeDefined();
  expect(problems()).toEqual(["NO_ANSWER", "CONNECTION_LOST"]);
  await vi.advanceTimersByTimeAsync(1_000);
  await socket().open();
  expect(socket().heard("subscribe")[0].taskIds).toEqual(tasks);
});

test("a look at the state that gets no answer is repeated as well", async () => {
  const { client, socket } = await live();
  client.refresh(TASK);
  await vi.advanceTimersByTimeAsync(1_000);
  socket().tell({ type: "pong" }); // there, but silent about the task
  await vi.advanceTimersByTimeAsync(9_000 + GATHER_MS);
  expect(socket().heard("subscribe")).toHaveLength(2);
});

test("tasks that a connection has no room for are polled, until there is room", async () => {
  const { client, socket, fetch, tasks } = await watching(3);
  fetch.mockImplementation(async (url) => {
    const taskId = url.split("/").at(-1)!;
    const message = { ...progress(1, 10), taskId };
    return answer(200, { ...state(rev(1), [message]), taskId }, { "Retry-After": "2" });
  });
  tasks.slice(0, 2).forEach((taskId) => socket().tell(subscribed(null, taskId)));
  socket().tell(refused("TOO_MANY_SUBSCRIPTIONS", false, tasks[2]));
  await vi.advanceTimersByTimeAsync(1_900);
  expect(client.getState(tasks[2]!)).toMatchObject({ percentage: 10, stale: false, refusal: null });
  expect(client.connection).toBe("live");
  expect(fetch).toHaveBeenCalledTimes(1);
  const stop = client.subscribe("gone");
  await vi.advanceTimersByTimeAsync(1);
  socket().tell(subscribed(null, "gone"));
  stop();
  await vi.advanceTimersByTimeAsync(1_000 + GATHER_MS);
  expect(socket().heard("unsubscribe")).toEqual([{ type: "unsubscribe", taskId: "gone" }]);
  expect(socket().heard("subscribe").at(-1)).toMatchObject({ taskId: tasks[2], rev: rev(1) });
  socket().tell(subscribed(rev(1), tasks[2]));
  const polls = fetch.mock.calls.length;
  await vi.advanceTimersByTimeAsync(20_000);
  expect(fetch.mock.calls.length).toBeLessThanOrEqual(polls + 1);
});

test("tasks that all go at once are unsubscribed from with one message", async () => {
  const { client, socket, tasks } = await watching(2);
  const stops = ["x", "y", "z"].map((taskId) => client.subscribe(taskId));
  await vi.advanceTimersByTimeAsync(1);
  [...tasks, "x", "y", "z"].forEach((taskId) => socket().tell(subscribed(null, taskId)));
  stops.forEach((stop) => stop());
  await vi.advanceTimersByTimeAsync(1_000 + GATHER_MS);
  expect(socket().heard("unsubscribe")).toEqual([
    { type: "unsubscribe", taskIds: ["x", "y", "z"] },
  ]);
});

test("at most six polls are under way at once", async () => {
  const { client, socket, fetch, tasks } = await watching(20);
  const open: (() => void)[] = [];
  fetch.mockImplementation(
    () => new Promise((resolve) => open.push(() => resolve(answer(304, "")))),
  );
  tasks.forEach((taskId) => socket().tell(refused("TOO_MANY_SUBSCRIPTIONS", false, taskId)));
  await vi.advanceTimersByTimeAsync(1);
  expect(fetch).toHaveBeenCalledTimes(6);
  open[0]!();
  await vi.advanceTimersByTimeAsync(1);
  expect(fetch).toHaveBeenCalledTimes(7);
  client.disconnect();
});

test("the end of one task among many is no reason to look at all", async () => {
  const { client, socket, tasks } = await watching(3);
  tasks.forEach((taskId) => socket().tell(subscribed(null, taskId)));
  tasks.slice(1).forEach((taskId) => socket().tell(complete(1, taskId)));
  expect(client.connection).toBe("live");
  socket().tell(complete(1, tasks[0]));
  expect(client.connection).toBe("idle");
});
