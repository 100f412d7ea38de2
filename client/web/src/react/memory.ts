/**
 * What was last known of tasks that are watched no more: a card that comes back shows that, marked
 * as out of date, until the server has told how the task is doing now.
 */
import type { ProgressClient } from "../core/client.js";
import type { TaskState } from "../core/task-state.js";

const KEPT_MAX = 500;
const memories = new WeakMap<ProgressClient, Map<string, TaskState>>();

/** Keeps what is known of a task that may not be watched any more. */
export function remember(client: ProgressClient, taskId: string): void {
  const state = client.getState(taskId);
  if (!state || state.status === "connecting") {
    return;
  }
  const kept = memories.get(client) ?? new Map<string, TaskState>();
  memories.set(client, kept);
  kept.delete(taskId); // so that it is the newest again
  if (state.rev !== null && !state.refusal) {
    kept.set(taskId, { ...state, stale: !state.done });
  }
  if (kept.size > KEPT_MAX) {
    kept.delete(kept.keys().next().value!);
  }
}

/** What is known of a task, or was; undefined if nothing ever was. */
export function recall(client: ProgressClient, taskId: string): TaskState | undefined {
  const state = client.getState(taskId);
  return state && state.status !== "connecting"
    ? state
    : (memories.get(client)?.get(taskId) ?? state);
}
