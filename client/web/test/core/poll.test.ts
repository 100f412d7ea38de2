import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TASK, answer, blocked, progress, rev, settle, state } from "../support/fake-server.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A client that polls, and has just learnt of 10 %. */
async function polling(headers: Record<string, string> = {}) {
  const world = await blocked();
  world.fetch.mockImplementation(async () =>
    answer(200, state(rev(1), [progress(1, 10)]), headers),
  );
  await vi.advanceTimersByTimeAsync(1_000);
  world.fetch.mockClear();
  return world;
}

test("sends token and ETag, and keeps the browser's cache out of it", async () => {
  const { fetch } = await polling();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(fetch.mock.calls[0]![1]).toMatchObject({
    headers: {
      Authorization: expect.stringContaining("Bearer token of 42"),
      "If-None-Match": `"${rev(1)}"`,
    },
    cache: "no-store",
  });
});

test("keeps the pace that the server gives", async () => {
  const { client, fetch } = await polling({ "Retry-After": "7" });
  fetch.mockImplementation(async () => answer(304, "", { "Retry-After": "30" }));
  await vi.advanceTimersByTimeAsync(7_000);
  expect(fetch).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(29_999);
  expect(fetch).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(fetch).toHaveBeenCalledTimes(2);
  expect(client.getState(TASK)).toMatchObject({ percentage: 10, stale: false });
});

test.each([
  ["nothing", {}, 2_000],
  ["0", { "Retry-After": "0" }, 2_000],
  ["less than nothing", { "Retry-After": "-5" }, 1_000],
  ["no number", { "Retry-After": "soon" }, 2_000],
  ["a year", { "Retry-After": "31536000" }, 60_000],
])("asks again in good time when Retry-After is %s", async (_, headers, pause) => {
  const { fetch } = await polling();
  fetch.mockImplementation(async () => answer(304, "", headers));
  await vi.advanceTimersByTimeAsync(2_000);
  fetch.mockClear();
  await vi.advanceTimersByTimeAsync(pause - 1);
  expect(fetch).toHaveBeenCalledTimes(0);
  await vi.advanceTimersByTimeAsync(1);
  expect(fetch).toHaveBeenCalledTimes(1);
});

test("304 for ever keeps the state, and goes on asking", async () => {
  const { client, fetch, problems } = await polling();
  const before = problems().length;
  fetch.mockImplementation(async () => answer(304, ""));
  await vi.advanceTimersByTimeAsync(50_000);
  expect(fetch).toHaveBeenCalledTimes(25);
  expect(client.getState(TASK)!.percentage).toBe(10);
  expect(problems()).toHaveLength(before);
});

test("304 for nothing is a failure", async () => {
  const { client, fetch, problems } = await blocked();
  fetch.mockImplementation(async () => answer(304, ""));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(problems().at(-1)).toBe("POLL_FAILED");
  expect(client.connection).toBe("offline");
});

test.each([
  ["HTML", () => answer(200, "<html>please log in</html>")],
  ["500", () => answer(500, "Internal Server Error")],
  ["a 403 that isn't the server's", () => answer(403, "<html>blocked</html>")],
  ["a 404 that isn't the server's", () => answer(404, "<html>nothing here</html>")],
  ["another task", () => answer(200, { ...state(rev(9), []), taskId: "43" })],
  ["no rev", () => answer(200, { ...state(rev(9), []), rev: 9 })],
  ["no messages", () => answer(200, { ...state(rev(9), []), messages: null })],
  ["null", () => answer(200, null)],
  ["no answer", () => Promise.reject(new TypeError("network"))],
  ["busy", () => answer(503, { error: { code: "BUSY", message: "later" } })],
])("%s: keeps the state, says so, and recovers", async (_, broken) => {
  const { client, fetch, problems } = await polling();
  const before = problems().length;
  fetch.mockImplementation(async () => broken());
  await vi.advanceTimersByTimeAsync(2_000);
  expect(client.getState(TASK)).toMatchObject({ percentage: 10, stale: true });
  expect(client.connection).toBe("offline");
  expect(problems().length).toBe(before + 1);
  expect(["POLL_FAILED", "BUSY"]).toContain(problems().at(-1));
  fetch.mockImplementation(async () => answer(200, state(rev(2), [progress(2, 20)])));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(client.getState(TASK)).toMatchObject({ percentage: 20, stale: false });
  expect(client.connection).toBe("polling");
});

test("gives up an answer that doesn't come, and asks again", async () => {
  const { client, fetch, problems } = await polling();
  fetch.mockImplementation(
    (_, { signal }) =>
      new Promise((_, reject) => {
        signal!.addEventListener("abort", () => reject(signal!.reason));
      }),
  );
  await vi.advanceTimersByTimeAsync(22_000);
  expect(problems().at(-1)).toBe("POLL_FAILED");
  fetch.mockImplementation(async () => answer(200, state(rev(2), [progress(2, 20)])));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(client.getState(TASK)!.percentage).toBe(20);
});

test("what is wrong in an answer is told, and the rest is taken", async () => {
  const { client, fetch, problems } = await polling();
  fetch.mockImplementation(async () =>
    answer(200, state(rev(3), [{ type: "new" }, { ...progress(2, 200) }, progress(3, 30)])),
  );
  await vi.advanceTimersByTimeAsync(2_000);
  expect(problems().slice(-2)).toEqual(["UNKNOWN_TYPE", "BAD_MESSAGE"]);
  expect(client.getState(TASK)!.percentage).toBe(30);
});

test("401 asks for a fresh token", async () => {
  const { fetch, tokens, problems } = await polling();
  fetch.mockImplementation(async () =>
    answer(401, { error: { code: "UNAUTHORIZED", message: "" } }),
  );
  await vi.advanceTimersByTimeAsync(2_000);
  expect(problems().at(-1)).toBe("UNAUTHORIZED");
  const asked = tokens.mock.calls.length;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(tokens).toHaveBeenCalledTimes(asked + 1);
  const { Authorization } = fetch.mock.lastCall![1].headers as Record<string, string>;
  expect(Authorization).toBe(`Bearer token of 42, ${asked + 1}`);
});

test("403 of the server's own ends it with an error", async () => {
  const { client, fetch } = await polling();
  fetch.mockImplementation(async () =>
    answer(403, { error: { code: "FORBIDDEN", message: "no" } }),
  );
  await vi.advanceTimersByTimeAsync(2_000);
  expect(client.getState(TASK)).toMatchObject({
    status: "refused",
    refusal: { code: "FORBIDDEN" },
  });
  expect(client.connection).toBe("idle");
});

test("a task without state is waiting", async () => {
  const { client, fetch } = await blocked();
  fetch.mockImplementation(async () =>
    answer(404, { error: { code: "TASK_NOT_FOUND", message: "no" } }),
  );
  await vi.advanceTimersByTimeAsync(1_000);
  expect(client.getState(TASK)!.status).toBe("waiting");
  expect(client.connection).toBe("polling");
});

test("a path that the server doesn't know says nothing about the task", async () => {
  const { client, fetch, problems, warnings } = await polling();
  fetch.mockImplementation(async () =>
    answer(404, { error: { code: "NOT_FOUND", message: "no such path" } }),
  );
  await vi.advanceTimersByTimeAsync(2_000);
  expect(client.getState(TASK)).toMatchObject({ status: "running", percentage: 10, stale: true });
  expect(client.connection).toBe("offline");
  expect(problems().at(-1)).toBe("NOT_FOUND");
  expect(warnings().some((text) => text.includes("is `url` right?"))).toBe(true);
});

test("an answer that was long on its way never overwrites a fresher frame", async () => {
  const { client, fetch, socket } = await polling();
  let give = (_response: Response) => {};
  fetch.mockImplementation((_url, { signal }) => {
    return new Promise((resolve, reject) => {
      give = resolve;
      signal!.addEventListener("abort", reject);
    });
  });
  await vi.advanceTimersByTimeAsync(59_000);
  await socket().open();
  give(answer(200, state(rev(4), [progress(4, 40)])));
  socket().tell(progress(5, 50)); // overtakes the answer, which is still being read
  await settle();
  expect(client.getState(TASK)).toMatchObject({ rev: rev(5), percentage: 50 });
});
