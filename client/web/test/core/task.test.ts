import { expect, test } from "vitest";
import type { TaskMessage } from "../../src/core/message.js";
import { Task } from "../../src/core/task.js";
import { blankTask } from "../../src/core/task-state.js";
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
  const task = new Task(TASK, () => {});
  messages.forEach((message) => take(task, message));
  return task;
};
/** Returns whether the task took it. */
const take = (task: Task, message: object) => {
  task._receive(message as TaskMessage, Date.now());
  return task._show()._messages.length > 0;
};
const entry = (stage: string) => ({ stage, timestamp: "2026-11-23T06:33:33.426Z" });

test("takes what has a larger n, and drops what has not", () => {
  const task = given(progress(5, 50));
  expect(take(task, progress(4, 60))).toBe(false);
  expect(take(task, progress(5, 60))).toBe(false);
  expect(task._state.percentage).toBe(50);
  expect(take(task, progress(6, 60))).toBe(true);
  expect(task._state).toMatchObject({ percentage: 60, rev: rev(6) });
});

test("compares n as a number", () => {
  const task = given(progress(9, 10), progress(10, 20));
  expect(task._state.rev).toBe(rev(10));
});

test.each([
  ["noise", [progress(1, 60), progress(2, 52)], 60],
  ["noise after noise", [progress(1, 60), progress(2, 52), progress(3, 58)], 60],
  ["a second pass", [50, 100, 10, 20].map((at, i) => progress(i + 1, at)), 20],
  ["another stage", [progress(1, 60), progress(2, 58, "mixing")], 58],
  ["the stage again", [progress(1, 60), stageChange(2, null, "transcribing"), progress(3, 55)], 55],
  ["a stage alone", [progress(1, 60), stageChange(2, null, "mixing")], 60],
  ["an attempt after a failure", [progress(1, 9), failure(2, "WORKER", true), progress(3, 2)], 2],
])("the bar runs backwards only when the job clearly begins again: %s", (_, messages, at) => {
  expect(given(...messages)._state.percentage).toBe(at);
});

test("the bar begins again with the next run", () => {
  const task = given(progress(1, 60), progress(2, 58));
  expect(task._state.progress!.percentage).toBe(58);
  take(task, progress(3, 5, "download", "run2"));
  expect(task._state.percentage).toBe(5);
});

test("a reset forgets all", () => {
  const task = given(progress(1, 60), complete(2));
  const reset = { type: "reset", taskId: TASK, rev: rev(3, "run2"), payload: {} };
  take(task, reset);
  expect(task._state).toMatchObject({
    status: "waiting",
    rev: rev(3, "run2"),
    percentage: null,
    result: null,
    stages: [],
  });
});

test("a new run holds although its clock is behind, when the server says so", () => {
  const task = given(progress(9, 60));
  take(task, { type: "reset", taskId: TASK, rev: rev(3, "run2"), payload: {} });
  take(task, progress(4, 5, "download", "run2"));
  expect(task._state).toMatchObject({ rev: rev(4, "run2"), percentage: 5 });
  const other = given(progress(9, 60));
  expect(other._answered(rev(3, "run2"), [])).toBe(true);
  take(other, progress(3, 5, "download", "run2"));
  expect(other._state).toMatchObject({ rev: rev(3, "run2"), percentage: 5 });
});

test("what the server has no more is forgotten, and what comes next begins anew", () => {
  const forgets: ((task: Task) => unknown)[] = [
    (task) => take(task, { type: "reset", taskId: TASK, rev: null, payload: {} }),
    (task) => task._answered(null, []) && task._show(),
  ];
  for (const forget of forgets) {
    const task = given(progress(5, 60));
    forget(task);
    expect(task._state).toEqual({ ...blankTask(TASK), status: "waiting" });
    take(task, progress(2, 5, "download", "run2"));
    expect(task._state).toMatchObject({ status: "running", percentage: 5, rev: rev(2, "run2") });
  }
});

test("a new run forgets all, also when its reset was missed", () => {
  const task = given(progress(1, 60), complete(2));
  task._answered(rev(9, "run2"), [entry("download")]);
  expect(task._show()._messages).toEqual([]);
  expect(task._state.status, "before the answer is there").toBe("complete");
  take(task, progress(9, 3, "download", "run2"));
  expect(task._state).toMatchObject({
    result: null,
    done: false,
    stage: "download",
    percentage: 3,
  });
  expect(task._answered(rev(2), [], false), "an old answer").toBe(false);
  expect(task._state.stage).toBe("download");
});

test("shows an answer only when it has come whole", () => {
  const task = new Task(TASK, () => {});
  task._answered(rev(4), [entry("download"), entry("decode")]);
  expect(take(task, stageChange(3, "download", "decode"))).toBe(false);
  expect(task._state).toEqual(blankTask(TASK));
  task._receive(progress(4, 20, "decode") as TaskMessage, 0);
  expect(task._show()._messages).toHaveLength(2);
  expect(task._state).toMatchObject({ status: "running", percentage: 20, stage: "decode" });
});

test("drops half an answer when the connection goes, and takes it again from the next", () => {
  const task = given(progress(1, 10));
  task._answered(rev(3), [entry("transcribing"), entry("decode")]);
  take(task, stageChange(2, "transcribing", "decode"));
  task._unconfirm();
  task._show();
  expect(task._state).toMatchObject({ rev: rev(1), stage: "transcribing", stale: true });
  task._answered(rev(3), [entry("transcribing"), entry("decode")]);
  take(task, stageChange(2, "transcribing", "decode"));
  take(task, progress(3, 30, "decode"));
  expect(task._state).toMatchObject({ rev: rev(3), stage: "decode", percentage: 30, stale: false });
});

test("an answer without messages is a task that is to begin", () => {
  const task = new Task(TASK, () => {});
  task._answered(rev(4), []);
  task._arrived(rev(4));
  task._show();
  expect(task._state).toMatchObject({ status: "waiting", rev: rev(4) });
});

test("knows when the job last told anything", () => {
  const task = new Task(TASK, () => {});
  task._receive(progress(1, 5) as TaskMessage, 1_000);
  task._receive(failure(2, "JOB_LOST", true) as TaskMessage, 2_000);
  task._show();
  expect(task._state.lastSeen).toBe(1_000);
});

test("enters stages as the server does", () => {
  const task = given(
    progress(1, 1, "download"),
    progress(2, 2, "download"),
    stageChange(3, "download", "decode"),
    stageChange(4, "decode", "decode"),
    progress(5, 5, "decode"),
  );
  expect(task._state.stage).toBe("decode");
  expect(task._state.stages.map(({ stage }) => stage)).toEqual(["download", "decode", "decode"]);
});

test("doesn't enter twice the stages that came with the answer", () => {
  const task = new Task(TASK, () => {});
  task._answered(rev(4), [entry("download"), entry("decode")]);
  take(task, stageChange(3, "download", "decode"));
  take(task, progress(4, 20, "decode"));
  take(task, stageChange(5, "decode", "format"));
  expect(task._state.stages.map(({ stage }) => stage)).toEqual(["download", "decode", "format"]);
});

test("keeps the last 32 stages", () => {
  const task = given(...Array.from({ length: 40 }, (_, i) => stageChange(i + 1, null, `s${i}`)));
  expect(task._state.stages).toHaveLength(32);
  expect(task._state.stages[0]!.stage).toBe("s8");
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
  expect(given(...messages)._state.status).toBe(status);
});

test("the end takes the estimate away, and a result makes it 100 %", () => {
  expect(given(progress(1, 5), estimate(2, 9), complete(3))._state).toMatchObject({
    percentage: 100,
    estimate: null,
    done: true,
  });
});

test("an answer that is older than what is held takes nothing away", () => {
  const task = given(progress(1, 5));
  task._answered(null, [], false);
  task._show();
  expect(task._state).toMatchObject({ status: "running", percentage: 5 });
});

test("the state is the same object until something changes", () => {
  const task = given(progress(1, 5));
  task._confirm();
  task._show();
  const { _state: state } = task;
  task._confirm();
  take(task, progress(1, 5));
  expect(task._state).toBe(state);
  task._unconfirm();
  task._show();
  expect(task._state).not.toBe(state);
});
