import { useCallback, useMemo, useSyncExternalStore } from "react";
import type { ConnectionStatus } from "../core/events.js";
import { blankTask } from "../core/task-state.js";
import type { TaskState } from "../core/task-state.js";
import { useProgressClient } from "./context.js";

/** All that is known of a task, and how the client stands with the server. */
export interface TaskProgressState extends TaskState {
  readonly connection: ConnectionStatus;
}

/**
 * Watches a task for as long as the component is mounted. Any number of components may watch the
 * same task; it is one subscription. Never throws for what a server or a network does.
 *
 * @param taskId the task
 * @returns its state; renders again when it changes
 */
export function useTaskProgress(taskId: string): TaskProgressState {
  const client = useProgressClient();
  const blank = useMemo(() => blankTask(taskId), [taskId]);
  const watch = useCallback(
    (onChange: () => void) => client.subscribe(taskId, { onChange }),
    [client, taskId],
  );
  const state = useSyncExternalStore(
    watch,
    () => client.getState(taskId) ?? blank,
    () => blank,
  );
  const connection = useConnectionStatus();
  return useMemo(() => ({ ...state, connection }), [state, connection]);
}

/** How the client stands with the server; renders again when that changes. */
export function useConnectionStatus(): ConnectionStatus {
  const client = useProgressClient();
  const watch = useCallback(
    (onChange: () => void) => {
      client.addEventListener("ConnectionChanged", onChange);
      return () => client.removeEventListener("ConnectionChanged", onChange);
    },
    [client],
  );
  return useSyncExternalStore(
    watch,
    () => client.connection,
    () => "idle",
  );
}
