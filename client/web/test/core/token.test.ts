import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  GATHER_MS,
  TASK,
  blocked,
  jwt,
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

test("asks for a fresh token with each attempt", async () => {
  const { socket, tokens } = await live();
  socket().drop(4401);
  await vi.advanceTimersByTimeAsync(1_000);
  await socket().open();
  expect(tokens).toHaveBeenCalledTimes(2);
  expect(socket().heard("subscribe")[0].token).toBe("token of 42, 2");
});

test("renews in place when the token is about to expire", async () => {
  const { client, socket, sockets } = await live();
  socket().tell(progress(1, 10));
  socket().tell({ type: "token_expiring", taskId: TASK, payload: {} });
  await vi.advanceTimersByTimeAsync(GATHER_MS);
  expect(socket().heard("subscribe")[1]).toEqual({
    type: "subscribe",
    taskId: TASK,
    token: "token of 42, 2",
    rev: rev(1),
  });
  socket().tell(subscribed(rev(1)));
  expect(client.getState(TASK)!.stale).toBe(false);
  expect(sockets).toHaveLength(1);
});

test("subscribes again when the token has expired, and when it is refused", async () => {
  const { socket } = await live();
  socket().tell({ type: "unsubscribed", taskId: TASK, payload: { reason: "TOKEN_EXPIRED" } });
  await vi.advanceTimersByTimeAsync(GATHER_MS);
  expect(socket().heard("subscribe")).toHaveLength(2);
  socket().tell(refused("UNAUTHORIZED", true));
  await vi.advanceTimersByTimeAsync(1_000 + GATHER_MS);
  expect(socket().heard("subscribe")[2].token).toBe("token of 42, 3");
});

test.each([
  ["fails", () => Promise.reject(new Error("no session"))],
  [
    "throws",
    () => {
      throw new Error("no session");
    },
  ],
  ["gives no text", () => undefined as unknown as string],
])("a provider that %s is told of, and asked again", async (_, broken) => {
  const { client, socket, tokens, problems } = setUp();
  tokens.mockImplementationOnce(broken as never);
  client.subscribe(TASK);
  await socket().open();
  expect(problems()).toEqual(["TOKEN_FAILED"]);
  expect(socket().said).toEqual([]);
  await vi.advanceTimersByTimeAsync(1_000 + GATHER_MS);
  expect(socket().heard("subscribe")).toHaveLength(1);
});

test("a provider that never answers is asked again after 15 s", async () => {
  const { client, socket, tokens, problems } = setUp();
  tokens.mockImplementationOnce(() => new Promise(() => {}));
  client.subscribe(TASK);
  await socket().open();
  await vi.advanceTimersByTimeAsync(16_000);
  expect(new Set(problems())).toEqual(new Set(["TOKEN_FAILED"]));
  expect(socket().heard("subscribe")).toHaveLength(1);
});

test("a token that comes when the connection is gone is used over the next", async () => {
  const { client, socket, sockets, tokens } = setUp();
  let give = (_token: string) => {};
  tokens.mockImplementationOnce(() => new Promise((resolve) => (give = resolve)));
  client.subscribe(TASK);
  await socket().open();
  socket().drop();
  await vi.advanceTimersByTimeAsync(1_000);
  await socket().open();
  give("late");
  await settle();
  expect(sockets).toHaveLength(2);
  expect(socket().heard("subscribe")).toEqual([{ type: "subscribe", taskId: TASK, token: "late" }]);
  expect(tokens).toHaveBeenCalledTimes(1);
});

test("a token function of 12 s costs one connection, and no attempts", async () => {
  const { client, socket, sockets, tokens } = setUp();
  tokens.mockImplementation(
    (taskId) => new Promise((resolve) => setTimeout(() => resolve(jwt([taskId])), 12_000)),
  );
  client.subscribe(TASK);
  await socket().open();
  await vi.advanceTimersByTimeAsync(10_000);
  socket().drop(4401); // no subscription for 10 s
  await vi.advanceTimersByTimeAsync(1_999);
  expect(sockets).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(sockets).toHaveLength(2);
  await socket().open();
  expect(socket().heard("subscribe")).toHaveLength(1);
  expect(tokens).toHaveBeenCalledTimes(1);
});

test("a token is asked for once while it is valid, whatever becomes of connections", async () => {
  const { socket } = await live(provider([TASK]));
  for (let attempt = 0; attempt < 3; attempt++) {
    socket().drop();
    await vi.advanceTimersByTimeAsync(10_000);
    await socket().open();
    socket().tell(subscribed(null));
  }
  expect(asked).toHaveLength(1);
});

test("one that is about to expire is asked for once for all tasks that it names", async () => {
  const tasks = Array.from({ length: 50 }, (_, i) => `t${i}`);
  const { client, socket } = setUp(provider(["t*"]));
  tasks.forEach((taskId) => client.subscribe(taskId));
  await socket().open();
  tasks.forEach((taskId) => socket().tell(subscribed(null, taskId)));
  tasks.forEach((taskId) => socket().tell({ type: "token_expiring", taskId, payload: {} }));
  await vi.advanceTimersByTimeAsync(GATHER_MS);
  expect(asked).toHaveLength(2);
  const [first, second] = socket().heard("subscribe");
  expect(second.taskIds).toEqual(tasks);
  expect(second.token).not.toBe(first.token);
});

test("a valid token in memory is used while the application gives no other", async () => {
  const { client, socket, tokens, problems } = setUp();
  tokens.mockResolvedValueOnce(jwt([TASK]));
  tokens.mockRejectedValue(new Error("down"));
  client.subscribe(TASK);
  await socket().open();
  socket().tell(subscribed(null));
  socket().tell({ type: "token_expiring", taskId: TASK, payload: {} });
  await vi.advanceTimersByTimeAsync(GATHER_MS);
  expect(problems()).toEqual(["TOKEN_FAILED"]);
  socket().drop();
  await vi.advanceTimersByTimeAsync(2_000);
  await socket().open();
  expect(socket().heard("subscribe")).toHaveLength(1);
  socket().tell(subscribed(null));
  expect(client.connection).toBe("live");
});

test("the pauses after refused tokens outlive connections, and are those of all tasks", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  const tasks = Array.from({ length: 20 }, (_, i) => `t${i}`);
  const { client, sockets, socket } = setUp(provider(["t*"]));
  tasks.forEach((taskId) => client.subscribe(taskId));
  for (let second = 0; second < 60; second++) {
    for (const open of sockets.filter((one) => one.onopen && one.said.length === 0)) {
      await open.open();
    }
    for (const taskId of socket().said.flatMap(({ taskIds, taskId }) => taskIds ?? [taskId])) {
      socket().tell(refused("UNAUTHORIZED", true, taskId));
    }
    socket().said.splice(0);
    if (second % 10 === 9) {
      socket().drop(4401);
    }
    await vi.advanceTimersByTimeAsync(1_000);
  }
  expect(asked.length).toBeGreaterThan(3);
  expect(asked.length).toBeLessThan(30);
});

test("a token that is refused again is told of as a refusal that is retried", async () => {
  const { client, socket, warnings } = setUp(provider([TASK]));
  client.subscribe(TASK);
  await socket().open();
  socket().tell(refused("UNAUTHORIZED", true));
  expect(client.getState(TASK)!.refusal).toBeNull();
  await vi.advanceTimersByTimeAsync(1_000 + GATHER_MS);
  socket().tell(refused("UNAUTHORIZED", true));
  expect(client.getState(TASK)).toMatchObject({
    status: "refused",
    refusal: { code: "UNAUTHORIZED", isRetried: true },
  });
  expect(warnings().filter((text) => text.includes("UNAUTHORIZED"))).toHaveLength(1);
  client.refresh(TASK); // at once
  await vi.advanceTimersByTimeAsync(GATHER_MS);
  socket().tell(subscribed(rev(1)));
  socket().tell(progress(1, 10));
  expect(client.getState(TASK)).toMatchObject({ status: "running", refusal: null });
});

test("a token that expires while something is known says so, and keeps what is known", async () => {
  const { client, socket, tokens } = await live();
  socket().tell(progress(1, 10));
  tokens.mockRejectedValue(new Error("down"));
  socket().tell({ type: "unsubscribed", taskId: TASK, payload: { reason: "TOKEN_EXPIRED" } });
  await vi.advanceTimersByTimeAsync(20_000);
  expect(client.getState(TASK)).toMatchObject({
    status: "running",
    percentage: 10,
    stale: true,
    refusal: { code: "TOKEN_FAILED", isRetried: true },
  });
});

test("says so when polls have no token, too", async () => {
  const { client, tokens } = setUp();
  tokens.mockRejectedValue(new Error("down"));
  client.subscribe(TASK);
  await vi.advanceTimersByTimeAsync(9_000); // WebSocket gets no answer
  expect(client.getState(TASK)).toMatchObject({
    status: "refused",
    refusal: { code: "TOKEN_FAILED", isRetried: true },
  });
});

/** A provider of tokens that name these tasks, each another one; `asked` tells for which it was. */
function provider(tasks: readonly string[]) {
  asked.length = 0;
  return {
    token: async (taskId: string) => jwt(tasks, 3600, String(asked.push(taskId))),
  };
}
const asked: string[] = [];

test("a poll after 4401 goes with a fresh token", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0);
  const { client, socket, tokens, fetch } = setUp();
  client.subscribe(TASK);
  for (let attempt = 0; attempt < 6; attempt++) {
    await socket().open();
    socket().drop(4401);
    await vi.advanceTimersByTimeAsync(1);
  }
  expect(tokens).toHaveBeenCalledTimes(7);
  await vi.advanceTimersByTimeAsync(1_000);
  const { Authorization } = fetch.mock.lastCall![1].headers as Record<string, string>;
  expect(Authorization).toBe("Bearer token of 42, 7");
});

test("no token ever is in an address", async () => {
  const { sockets, fetch } = await blocked();
  for (const { url } of sockets) {
    expect(url).toBe("wss://broker.example/ws/progress");
  }
  expect(fetch.mock.calls[0]![0]).toBe("https://broker.example/api/progress/42");
});
