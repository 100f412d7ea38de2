/**
 * The watched tasks as a Zustand store.
 *
 * @packageDocumentation
 */
import { createStore } from "zustand/vanilla";
import type { StoreApi } from "zustand/vanilla";
import type { ProgressClient } from "./core/client.js";
import type { ConnectionStatus } from "./core/events.js";
import type { TaskState } from "./core/task-state.js";

/** What the store holds. */
export interface ProgressStore {
  /** What is known of each task that is or was watched. */
  readonly tasks: Readonly<Record<string, TaskState>>;
  /** How the client stands with the server. */
  readonly connection: ConnectionStatus;
  /** Watches a task; returns what stops it. Its last state stays in `tasks`. */
  readonly watch: (taskId: string) => () => void;
  /** Takes a task out of `tasks`. */
  readonly remove: (taskId: string) => void;
}

/**
 * Makes a store that follows a client.
 *
 * @param client the client
 * @param options `signal` ends the following when it is aborted
 * @returns a vanilla store; in React use it with Zustand's `useStore`
 */
export function createProgressStore(
  client: ProgressClient,
  options: { readonly signal?: AbortSignal } = {},
): StoreApi<ProgressStore> {
  const store = createStore<ProgressStore>()((set) => ({
    tasks: {},
    connection: client.connection,
    watch: (taskId) => {
      const stop = client.subscribe(taskId);
      const state = client.getState(taskId);
      if (state) {
        set(({ tasks }) => ({ tasks: { ...tasks, [taskId]: state } }));
      }
      return stop;
    },
    remove: (taskId) =>
      set(({ tasks }) => {
        const { [taskId]: _, ...others } = tasks;
        return { tasks: others };
      }),
  }));
  client.addEventListener(
    "TaskChanged",
    ({ detail }) =>
      store.setState(({ tasks }) => ({ tasks: { ...tasks, [detail.taskId]: detail } })),
    options,
  );
  client.addEventListener(
    "ConnectionChanged",
    ({ detail }) => store.setState({ connection: detail.connection }),
    options,
  );
  return store;
}
