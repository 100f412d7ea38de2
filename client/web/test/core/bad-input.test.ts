import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { readMessage } from "../../src/core/message.js";
import { TASK, complete, live, progress, rev, setUp, subscribed } from "../support/fake-server.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const good = progress(9, 50);
const payload = good.payload;

test.each([
  ["no JSON", "{", "BAD_MESSAGE"],
  ["half a message", JSON.stringify(good).slice(0, 60), "BAD_MESSAGE"],
  ["nothing", "", "BAD_MESSAGE"],
  ["null", "null", "BAD_MESSAGE"],
  ["a list", "[]", "BAD_MESSAGE"],
  ["a number", "7", "BAD_MESSAGE"],
  ["binary data", new ArrayBuffer(8), "BAD_MESSAGE"],
  ["HTML", "<html>", "BAD_MESSAGE"],
  ["no type", { taskId: TASK }, "BAD_MESSAGE"],
  ["an unknown type", { ...good, type: "telepathy" }, "UNKNOWN_TYPE"],
  ["a type that every object has", { ...good, type: "constructor" }, "UNKNOWN_TYPE"],
  ["a prototype for a type", { ...good, type: "__proto__" }, "UNKNOWN_TYPE"],
  ["another task", { ...good, taskId: "43" }, "WRONG_TASK"],
  ["a number for a task", { ...good, taskId: 42 }, "BAD_MESSAGE"],
  ["no rev", { ...good, rev: undefined }, "BAD_MESSAGE"],
  ["a rev that is none", { ...good, rev: "9" }, "BAD_MESSAGE"],
  ["no payload", { ...good, payload: undefined }, "BAD_MESSAGE"],
  ["a list for a payload", { ...good, payload: [] }, "BAD_MESSAGE"],
  ["text for a number", { ...good, payload: { ...payload, percentage: "50" } }, "BAD_MESSAGE"],
  ["too much", { ...good, payload: { ...payload, percentage: 101 } }, "BAD_MESSAGE"],
  ["too little", { ...good, payload: { ...payload, percentage: -1 } }, "BAD_MESSAGE"],
  ["infinity", JSON.stringify(complete(9)).replace(":31.4", ":1e999"), "BAD_MESSAGE"],
  ["null for text", { ...good, payload: { ...payload, stage: null } }, "BAD_MESSAGE"],
  [
    "text for an optional number",
    { ...good, payload: { ...payload, bytesTotal: "" } },
    "BAD_MESSAGE",
  ],
  ["an object for stages", subscribed(rev(1), TASK, {} as never), "BAD_MESSAGE"],
])("%s: keeps the state, says so, and goes on", async (_, message, code) => {
  const { client, socket, problems } = await live();
  socket().tell(progress(1, 10));
  const before = client.getState(TASK);
  const isObject = typeof message === "object" && !(message instanceof ArrayBuffer);
  socket().tellText(isObject ? JSON.stringify(message) : message);
  expect(problems()).toEqual([code]);
  expect(client.getState(TASK)).toBe(before);
  socket().tell(progress(10, 60));
  expect(client.getState(TASK)!.percentage).toBe(60);
  expect(client.connection).toBe("live");
});

test("a message about a task that was watched until just now is no problem", async () => {
  const { client, socket, problems, stop } = await live();
  client.subscribe("other");
  stop();
  await vi.advanceTimersByTimeAsync(1_000);
  socket().tell(progress(1, 10));
  socket().tell({ type: "unsubscribed", taskId: TASK, payload: { reason: "CLIENT_REQUEST" } });
  expect(problems()).toEqual([]);
});

test("a socket that throws is one that gives no answer, and later tokens are asked for", async () => {
  const { client, socket, sockets, tokens, problems } = setUp();
  client.subscribe(TASK);
  socket().send = () => {
    throw new Error("closing");
  };
  await socket().open();
  await vi.advanceTimersByTimeAsync(12_000);
  expect(problems()).toContain("NO_ANSWER");
  expect(sockets).toHaveLength(2);
  await socket().open();
  client.subscribe("43");
  await vi.advanceTimersByTimeAsync(100);
  expect(tokens).toHaveBeenCalledWith("43");
  expect(
    socket()
      .heard("subscribe")
      .map(({ taskId }) => taskId),
  ).toEqual([TASK, "43"]);
});

test("a close in the middle of a message is one like any other", async () => {
  const { client, socket, problems } = await live();
  socket().tell(progress(1, 10));
  socket().tellText('{"type":"progress_upd');
  socket().drop(1006);
  expect(problems()).toEqual(["BAD_MESSAGE", "CONNECTION_LOST"]);
  expect(client.getState(TASK)).toMatchObject({ percentage: 10, stale: true });
  await vi.advanceTimersByTimeAsync(1_000);
  await socket().open();
  socket().tell(subscribed(rev(2)));
  socket().tell(complete(2));
  expect(client.getState(TASK)!.status).toBe("complete");
});

test("stages that are none are left out", async () => {
  const { client, socket } = await live();
  const stage = { stage: "download", timestamp: "2026-11-23T06:33:33.426Z" };
  socket().tell(subscribed(rev(3), TASK, [null, 7, {}, { stage: 7 }, stage] as never));
  socket().tell(progress(3, 10, "download"));
  expect(client.getState(TASK)!.stages).toEqual([stage]);
});

test("members that aren't in the table are passed on untouched", async () => {
  const { client, socket } = await live();
  socket().tell({ ...good, payload: { ...payload, chapter: [3] } });
  expect(client.getState(TASK)!.progress).toEqual({ ...payload, chapter: [3] });
});

test("reading never throws, whatever comes", () => {
  const values = [undefined, null, 0, "", [], {}, NaN, new Date(), () => 0, { type: {} }];
  for (const type of ["subscribed", "error", "reset", "reconnect", "pong", "token_expiring"]) {
    for (const value of values) {
      expect(() => readMessage({ type, taskId: value, rev: value, payload: value })).not.toThrow();
      expect(() => readMessage({ type, payload: { rev: value, stages: value } })).not.toThrow();
    }
  }
});
