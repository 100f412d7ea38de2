import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  TASK,
  complete,
  estimate,
  failure,
  live,
  progress,
  rev,
  setUp,
  stageChange,
  subscribed,
} from "../support/fake-server.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("tells of a job's progress under the names of ADR-001, the state being there already", async () => {
  const { client, socket, events } = await live();
  events.length = 0;
  socket().tell(stageChange(1, null, "download"));
  socket().tell(progress(2, 10, "download"));
  socket().tell(estimate(3, 90, 0.5));
  socket().tell(failure(4, "WORKER", true));
  socket().tell(complete(5));
  expect(events.map(({ type }) => type)).toEqual([
    "StageChanged",
    "TaskChanged",
    "ProgressUpdated",
    "TaskChanged",
    "TimeEstimateUpdated",
    "TaskChanged",
    "ProgressFailed",
    "TaskChanged",
    "ProgressCompleted",
    "TaskChanged",
    "ConnectionChanged",
  ]);
  expect(events[0]!.detail).toMatchObject({
    taskId: TASK,
    payload: { fromStage: null, toStage: "download" },
    state: { stage: "download", rev: rev(1) },
  });
  expect(events[4]!.detail).toMatchObject({
    payload: { estimatedTimeRemaining: 90, confidence: 0.5 },
    state: { estimate: { seconds: 90, confidence: 0.5, madeAt: Date.now() } },
  });
  expect(events.at(-1)!.detail).toEqual({ connection: "idle", previous: "live" });
  expect(client.getState(TASK)!.result!.duration).toBe(31.4);
});

test("a stage that only a progress_update names is told of, too", async () => {
  const { socket, told } = await live();
  socket().tell(progress(1, 10, "download"));
  socket().tell(progress(2, 20, "decode"));
  socket().tell(progress(3, 30, "decode"));
  expect(told("StageChanged").map(({ payload }) => payload)).toEqual([
    { fromStage: null, toStage: "download" },
    { fromStage: "download", toStage: "decode" },
  ]);
});

test("tells of a new beginning", async () => {
  const { socket, told } = await live();
  socket().tell(progress(1, 10));
  socket().tell({ type: "reset", taskId: TASK, rev: rev(2, "run2"), payload: {} });
  expect(told("ProgressReset")).toMatchObject([{ taskId: TASK, state: { percentage: null } }]);
});

test("a listener may subscribe, unsubscribe and disconnect", async () => {
  const { client, socket, stop } = await live();
  client.addEventListener("ProgressUpdated", () => {
    client.subscribe("other");
    stop();
  });
  client.addEventListener("ProgressCompleted", () => client.disconnect());
  socket().tell(progress(1, 10));
  socket().tell(complete(2));
  expect(client.connection).toBe("idle");
});

test("tells those who watch a task of that task alone, until they stop", async () => {
  const { client, socket } = await live();
  const onChange = vi.fn();
  const other = vi.fn();
  const stop = client.subscribe(TASK, { onChange });
  client.subscribe("other", { onChange: other });
  socket().tell(progress(1, 10));
  expect(onChange.mock.calls).toEqual([[client.getState(TASK)]]);
  stop();
  socket().tell(progress(2, 20));
  expect(onChange).toHaveBeenCalledTimes(1);
  expect(other).not.toHaveBeenCalled();
});

test("tells of each failure and of the result once, also who comes later", async () => {
  const { client, socket } = await live();
  const listeners = () => ({ onComplete: vi.fn(), onError: vi.fn() });
  const [early, late] = [listeners(), listeners()];
  client.subscribe(TASK, early);
  socket().tell(failure(1, "WORKER", true));
  socket().tell(progress(2, 20));
  socket().tell(failure(3, "WORKER", true));
  socket().tell(complete(4));
  client.subscribe(TASK, late);
  expect(early.onError).toHaveBeenCalledTimes(2);
  expect(early.onError.mock.calls[0]![0]).toMatchObject({ code: "WORKER" });
  for (const { onComplete } of [early, late]) {
    expect(onComplete.mock.calls).toEqual([
      [complete(4).payload, expect.objectContaining({ status: "complete" })],
    ]);
  }
  expect(late.onError).not.toHaveBeenCalled();
});

test("a listener that throws keeps nobody else from hearing", async () => {
  const { client, socket } = await live();
  const thrown: unknown[] = [];
  vi.stubGlobal("queueMicrotask", (callback: () => void) => {
    try {
      callback();
    } catch (error) {
      thrown.push(error);
    }
  });
  client.subscribe(TASK, {
    onChange: () => {
      throw new Error("mine");
    },
  });
  const onChange = vi.fn();
  client.subscribe(TASK, { onChange });
  socket().tell(progress(1, 10));
  expect(onChange).toHaveBeenCalledTimes(1);
  expect(thrown).toEqual([new Error("mine")]);
  vi.unstubAllGlobals();
});

test("a task that the server has no more is waiting, and what comes next is a new beginning", async () => {
  const { client, socket, told } = await live();
  socket().tell(progress(5, 60));
  socket().tell({ type: "reset", taskId: TASK, rev: null, payload: {} });
  expect(client.getState(TASK)).toMatchObject({ status: "waiting", rev: null, percentage: null });
  expect(told("ProgressReset")).toHaveLength(1);
  socket().tell(progress(2, 1, "download", "run2"));
  expect(client.getState(TASK)).toMatchObject({ status: "running", percentage: 1 });
});

test("tells of a state that comes in pieces once, when it is there", async () => {
  const { client, socket, events } = setUp();
  client.subscribe(TASK);
  await socket().open();
  events.length = 0;
  const stages = ["download", "decode"].map((stage) => ({ stage, timestamp: "2026-11-23T06:33Z" }));
  socket().tell(subscribed(rev(4), TASK, stages));
  socket().tell(stageChange(2, "download", "decode"));
  socket().tell(progress(3, 20, "decode"));
  expect(events.map(({ type }) => type)).toEqual(["ConnectionChanged"]);
  socket().tell(estimate(4, 90));
  expect(events.slice(1).map(({ type }) => type)).toEqual([
    "StageChanged",
    "ProgressUpdated",
    "TimeEstimateUpdated",
    "TaskChanged",
  ]);
});

test("an answer that names more than comes is shown all the same", async () => {
  const { client, socket } = setUp();
  client.subscribe(TASK);
  await socket().open();
  socket().tell(subscribed(rev(4))); // a run that was reset, and nothing since
  expect(client.getState(TASK)!.status).toBe("connecting");
  await vi.advanceTimersByTimeAsync(500);
  expect(client.getState(TASK)!.status).toBe("waiting");
});

test("knows when what it is told was made, whatever the clocks say", async () => {
  const { client, socket } = setUp();
  client.subscribe(TASK);
  client.subscribe("live");
  await socket().open();
  const now = Date.now();
  const server = now - 3_600_000; // its clock is an hour behind
  const at = (ago: number) => rev((server - ago) * 1_000);
  socket().tell(subscribed(null, "live"));
  socket().tell({ ...progress(1, 1), taskId: "live", rev: at(0) });
  socket().tell(subscribed(at(60_000)));
  socket().tell({ ...progress(1, 10), rev: at(80_000) });
  socket().tell({ ...estimate(1, 90), rev: at(60_000) });
  expect(client.getState(TASK)).toMatchObject({
    estimate: { seconds: 90, madeAt: now - 60_000 },
    lastSeen: now - 60_000,
  });
  expect(client.getState("live")!.lastSeen).toBe(now);
});
