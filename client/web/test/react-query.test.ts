import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { followTasks, taskProgressQuery } from "../src/react-query.js";
import {
  TASK,
  complete,
  progress,
  refused,
  rev,
  setUp,
  settle,
  subscribed,
} from "./support/fake-server.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a query resolves with the first state that the server tells", async () => {
  const { client, socket } = setUp();
  const queries = new QueryClient();
  const result = queries.fetchQuery(taskProgressQuery(client, TASK));
  await settle();
  await socket().open();
  socket().tell(subscribed(null));
  expect((await result).status).toBe("waiting");
});

test("a query of a task that may not be watched fails", async () => {
  const { client, socket } = setUp();
  const result = new QueryClient().fetchQuery(taskProgressQuery(client, TASK));
  const failure = expect(result).rejects.toThrow("FORBIDDEN");
  await settle();
  await socket().open();
  socket().tell(refused("FORBIDDEN", false));
  await failure;
});

test("a query in use is watched, and each change goes into the cache", async () => {
  const { client, socket } = setUp();
  const queries = new QueryClient();
  const end = followTasks(queries, client);
  const stop = new QueryObserver(queries, taskProgressQuery(client, TASK)).subscribe(() => {});
  await socket().open();
  socket().tell(subscribed(null));
  socket().tell(progress(1, 10));
  await vi.advanceTimersByTimeAsync(5_000);
  socket().tell(progress(2, 20));
  expect(queries.getQueryData(taskProgressQuery(client, TASK).queryKey)!.percentage).toBe(20);
  expect(client.connection).toBe("live");
  stop();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(client.connection).toBe("idle");
  end();
});

test("a query never shows half a state, neither at first nor when it is used again", async () => {
  const { client, socket } = setUp();
  const queries = new QueryClient();
  const end = followTasks(queries, client);
  const query = taskProgressQuery(client, TASK);
  const seen: string[] = [];
  const use = () =>
    new QueryObserver(queries, query).subscribe(({ data }) => {
      seen.push(data ? `${data.status} ${data.percentage}` : "nothing");
    });
  const arrive = async (answer: object[]) => {
    await settle();
    await socket().open();
    for (const message of answer) {
      socket().tell(message);
      await settle();
    }
  };
  let stop = use();
  await arrive([subscribed(rev(2)), progress(1, 99), complete(2)]);
  expect((await queries.fetchQuery(query)).status).toBe("complete");
  stop();
  await vi.advanceTimersByTimeAsync(5_000); // forgotten by the client, and kept by the cache
  expect(client.getState(TASK)).toBeUndefined();
  stop = use();
  await arrive([subscribed(rev(4, "run2")), progress(4, 30, "again", "run2")]);
  await vi.advanceTimersByTimeAsync(1);
  expect(queries.getQueryData(query.queryKey)).toMatchObject({ status: "running", percentage: 30 });
  expect(new Set(seen)).toEqual(new Set(["nothing", "complete 100", "running 30"]));
  stop();
  end();
});
