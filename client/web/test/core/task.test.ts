import { expect, test } from "vitest";
import type { TaskMessage } from "../../src/core/message.js";
import { Task } from "../../src/core/task.js";
import {
  TASK,
  complete,
  estimate,
  failure,
  progress,
  rev,
  stageChange,
} from "../support/fake-server.js";

const given = (...messages: object[]) => {
  const task = new Task(TASK);
  messages.forEach((message) => task.receive(message as TaskMessage));
  return task;
};
const entry = (stage: string) => ({ stage, timestamp: "2026-11-23T06:33:33.426Z" });

test("takes what has a larger n, and drops what has not", () => {
  const task = given(progress(5, 50));
  expect(task.receive(progress(4, 60) as TaskMessage)).toBe(false);
  expect(task.receive(progress(5, 60) as TaskMessage)).toBe(false);
  expect(task.state.percentage).toBe(50);
  expect(task.receive(progress(6, 60) as TaskMessage)).toBe(true);
  expect(task.state).toMatchObject({ percentage: 60, rev: rev(6) });
});

test("compares n as a number", () => {
  const task = given(progress(9, 10), progress(10, 20));
  expect(task.state.rev).toBe(rev(10));
});

test("the percentage never runs backwards within a run, and does in the next", () => {
  const task = given(progress(1, 60), progress(2, 40));
  expect(task.state.percentage).toBe(60);
  expect(task.state.progress!.percentage).toBe(40);
  task.receive(progress(3, 5, "download", "run2") as TaskMessage);
  expect(task.state.percentage).toBe(5);
});

test("a reset forgets all", () => {
  const task = given(progress(1, 60), complete(2));
  const reset = { type: "reset", taskId: TASK, rev: rev(3, "run2"), payload: {} };
  task.receive(reset as TaskMessage);
  expect(task.state).toMatchObject({
    status: "running",
    percentage: null,
    result: null,
    stages: [],
  });
});

test("a new run forgets all, also when its reset was missed", () => {
  const task = given(progress(1, 60), complete(2));
  expect(task.answered(rev(9, "run2"), [entry("download")])).toBe(true);
  expect(task.state).toMatchObject({
    result: null,
    done: false,
    stage: "download",
    percentage: null,
  });
  expect(task.answered(rev(2), [])).toBe(false); // an old answer
  expect(task.state.stage).toBe("download");
});

test("enters stages as the server does", () => {
  const task = given(
    progress(1, 1, "download"),
    progress(2, 2, "download"),
    stageChange(3, "download", "decode"),
    stageChange(4, "decode", "decode"),
    progress(5, 5, "decode"),
  );
  expect(task.state.stage).toBe("decode");
  expect(task.state.stages.map(({ stage }) => stage)).toEqual(["download", "decode", "decode"]);
});

test("doesn't enter twice the stages that came with the answer", () => {
  const task = new Task(TASK);
  task.answered(rev(4), [entry("download"), entry("decode")]);
  task.receive(stageChange(3, "download", "decode") as TaskMessage);
  task.receive(progress(4, 20, "decode") as TaskMessage);
  task.receive(stageChange(5, "decode", "format") as TaskMessage);
  expect(task.state.stages.map(({ stage }) => stage)).toEqual(["download", "decode", "format"]);
});

test("keeps the last 32 stages", () => {
  const task = given(...Array.from({ length: 40 }, (_, i) => stageChange(i + 1, null, `s${i}`)));
  expect(task.state.stages).toHaveLength(32);
  expect(task.state.stages[0]!.stage).toBe("s8");
});

test.each([
  [[], "connecting"],
  [[progress(1, 5)], "running"],
  [[failure(1)], "failed"],
  [[failure(1, "WORKER", true)], "interrupted"],
  [[failure(1, "JOB_LOST", true)], "lost"],
  [[failure(1, "JOB_LOST", true), progress(2, 5)], "running"],
  [[failure(1, "WORKER", true), stageChange(2, null, "again")], "running"],
  [[failure(1, "WORKER", true), estimate(2, 5)], "interrupted"],
  [[failure(1, "WORKER", true), complete(2)], "complete"],
])("%# gives the right status", (messages, status) => {
  expect(given(...messages).state.status).toBe(status);
});

test("the end takes the estimate away, and a result makes it 100 %", () => {
  expect(given(progress(1, 5), estimate(2, 9), complete(3)).state).toMatchObject({
    percentage: 100,
    estimate: null,
    done: true,
  });
});

test("an answer that knows nothing takes nothing away", () => {
  const task = given(progress(1, 5));
  task.answered(null, []);
  expect(task.state).toMatchObject({ status: "running", percentage: 5 });
});

test("the state is the same object until something changes", () => {
  const task = given(progress(1, 5));
  task.confirm();
  const { state } = task;
  task.confirm();
  task.receive(progress(1, 5) as TaskMessage);
  expect(task.state).toBe(state);
  task.unconfirm();
  expect(task.state).not.toBe(state);
});
