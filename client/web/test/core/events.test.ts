import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  TASK,
  complete,
  estimate,
  failure,
  live,
  progress,
  rev,
  stageChange,
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
    state: { estimate: { seconds: 90, confidence: 0.5, receivedAt: Date.now() } },
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
