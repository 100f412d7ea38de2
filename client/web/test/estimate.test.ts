import { expect, test } from "vitest";
import { Countdown, expectedEnd, shownSeconds } from "../src/react/estimate.js";

const estimated = (seconds: number, confidence: number, madeAt = 0) => ({
  seconds,
  confidence,
  madeAt,
});

test("the first estimate is taken as it is", () => {
  expect(expectedEnd(null, estimated(60, 0.1, 5_000))).toBe(65_000);
});

test("a sure estimate moves the end all the way, an unsure one a little", () => {
  expect(expectedEnd(100_000, estimated(200, 1))).toBe(200_000);
  expect(expectedEnd(100_000, estimated(200, 0))).toBe(110_000);
});

test("noise of a third around the truth doesn't show", () => {
  let end = 1_800_000;
  let shown = 1800;
  for (let second = 0; second < 60; second++) {
    const noise = 1 + (second % 2 ? 1 : -1) / 3;
    end = expectedEnd(end, estimated((1800 - second) * noise, 0.4, second * 1000));
    shown = shownSeconds(shown, (end - second * 1000) / 1000);
    expect(shown).toBe(1800);
  }
});

test.each([
  [0, 5],
  [1, 5],
  [58, 60],
  [61, 120],
  [700, 900],
  [4000, 4500],
])("%d s are shown as %d s", (seconds, shown) => {
  expect(shownSeconds(null, seconds)).toBe(shown);
});

test("counting down goes on, a small step up is not shown", () => {
  expect(shownSeconds(30, 23)).toBe(30);
  expect(shownSeconds(30, 22)).toBe(25);
  expect(shownSeconds(30, 31)).toBe(30);
  expect(shownSeconds(30, 50)).toBe(50);
});

test("an estimate that is a minute old has a minute less to go", () => {
  const countdown = new Countdown();
  countdown.take(estimated(120, 1, 0));
  expect(countdown.at(60_000)).toBe(60);
});

test("what takes longer than expected is overdue until there is another estimate", () => {
  const countdown = new Countdown();
  countdown.take(estimated(10, 1, 0));
  expect(countdown.at(14_000)).toBe(5);
  expect(countdown.at(16_000)).toBe("overdue");
  countdown.take(estimated(30, 1, 16_000));
  expect(countdown.at(16_000)).toBe(30);
  countdown.take(null);
  expect(countdown.at(16_000)).toBeNull();
});
