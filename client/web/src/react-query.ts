/**
 * The watched tasks as queries of React Query.
 *
 * @packageDocumentation
 */
import { queryOptions } from "@tanstack/react-query";
import type { QueryClient } from "@tanstack/react-query";
import type { ProgressClient } from "./core/client.js";
import type { TaskState } from "./core/task-state.js";

const KEY = "progressd";

/**
 * A query for the state of a task, for `useQuery` and all that takes options. It resolves as soon
 * as the server has told how the task is doing, and rejects with an Error if it doesn't let us
 * watch it. `followTasks` keeps it up to date from then on.
 */
// The type is long, and says just what `queryOptions` makes of this.
export function taskProgressQuery(client: ProgressClient, taskId: string) {
  return queryOptions({
    queryKey: [KEY, taskId] as const,
    queryFn: ({ signal }): Promise<TaskState> => firstState(client, taskId, signal),
    staleTime: Infinity, // the socket says when it changes
    retry: false, // the client does that
  });
}

/**
 * Keeps the queries of tasks up to date: a task is watched while its query is in use, and each
 * change goes into the cache.
 *
 * @returns ends it
 */
export function followTasks(queryClient: QueryClient, client: ProgressClient): () => void {
  const ending = new AbortController();
  const { signal } = ending;
  const watched = new Map<string, () => void>();
  const follow = (taskId: string, isUsed: boolean): void => {
    const stop = watched.get(taskId);
    if (isUsed && !stop) {
      watched.set(taskId, client.subscribe(taskId, { signal }));
    } else if (!isUsed && stop) {
      watched.delete(taskId);
      stop();
    }
  };
  const cache = queryClient.getQueryCache();
  for (const query of cache.findAll({ queryKey: [KEY] })) {
    follow(String(query.queryKey[1]), query.getObserversCount() > 0);
  }
  const unsubscribe = cache.subscribe(({ query }) => {
    if (query.queryKey[0] === KEY) {
      follow(String(query.queryKey[1]), query.getObserversCount() > 0);
    }
  });
  client.addEventListener(
    "TaskChanged",
    ({ detail }) => {
      if (detail.status !== "connecting" && detail.status !== "refused") {
        queryClient.setQueryData([KEY, detail.taskId], detail);
      }
    },
    { signal },
  );
  return () => {
    unsubscribe();
    ending.abort();
  };
}

/** What the server first tells of a task. */
function firstState(
  client: ProgressClient,
  taskId: string,
  signal: AbortSignal,
): Promise<TaskState> {
  return new Promise((resolve, reject) => {
    const ending = new AbortController();
    const look = (): void => {
      const state = client.getState(taskId);
      if (state?.refusal) {
        reject(new Error(`${state.refusal.code}: ${state.refusal.message}`));
      } else if (state && state.status !== "connecting") {
        resolve(state);
      } else {
        return;
      }
      ending.abort();
    };
    client.addEventListener("TaskChanged", look, { signal: ending.signal });
    client.subscribe(taskId, { signal: ending.signal });
    signal.addEventListener("abort", () => {
      ending.abort();
      reject(signal.reason);
    });
    look();
  });
}
