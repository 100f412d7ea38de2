import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  TASK,
  blocked,
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
  await settle();
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
  await settle();
  expect(socket().heard("subscribe")).toHaveLength(2);
  socket().tell(refused("UNAUTHORIZED", true));
  await vi.advanceTimersByTimeAsync(1_000);
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
  await vi.advanceTimersByTimeAsync(1_000);
  expect(socket().heard("subscribe")).toHaveLength(1);
});

test("a provider that never answers is asked again after 15 s", async () => {
  const { client, socket, tokens, problems } = setUp();
  tokens.mockImplementationOnce(() => new Promise(() => {}));
  client.subscribe(TASK);
  await socket().open();
  await vi.advanceTimersByTimeAsync(16_000);
  expect(problems()).toEqual(["TOKEN_FAILED"]);
  expect(socket().heard("subscribe")).toHaveLength(1);
});

test("a token that comes after the connection is gone is not sent over the next", async () => {
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
  expect(
    socket()
      .heard("subscribe")
      .map(({ token }) => token),
  ).toEqual(["token of 42, 2"]);
});

test("of two tokens asked for at once the newer is sent", async () => {
  const { socket, tokens } = await live();
  let give = (_token: string) => {};
  tokens.mockImplementationOnce(() => new Promise((resolve) => (give = resolve)));
  const expiring = { type: "token_expiring", taskId: TASK, payload: {} };
  socket().tell(expiring);
  socket().tell(expiring);
  await settle();
  give("older");
  await settle();
  expect(
    socket()
      .heard("subscribe")
      .map(({ token }) => token),
  ).toEqual(["token of 42, 1", "token of 42, 3"]);
});

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
  const { Authorization } = fetch.mock.calls[0]![1].headers as Record<string, string>;
  expect(Authorization).toBe("Bearer token of 42, 7");
});

test("no token ever is in an address", async () => {
  const { sockets, fetch } = await blocked();
  for (const { url } of sockets) {
    expect(url).toBe("wss://broker.example/ws/progress");
  }
  expect(fetch.mock.calls[0]![0]).toBe("https://broker.example/api/progress/42");
});
