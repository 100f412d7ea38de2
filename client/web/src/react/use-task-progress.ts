import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type { ProgressClient } from "../core/client.js";
import type { ConnectionStatus } from "../core/events.js";
import { blankTask } from "../core/task-state.js";
import type { TaskListeners, TaskState } from "../core/task-state.js";
import { useProgressClient } from "./context.js";
import { atNextFrame, notAtNextFrame } from "./frames.js";
import { recall, remember } from "./memory.js";

/** All that is known of a task, and how the client stands with the server. */
export interface TaskProgressState extends TaskState {
  readonly connection: ConnectionStatus;
}

/** What `useTaskProgress` may be told. */
export interface TaskProgressOptions<Selected = TaskProgressState> extends Omit<
  TaskListeners,
  "onChange"
> {
  /** Whether to watch the task; left out: as soon as there is a task id. */
  readonly enabled?: boolean;
  /**
   * What of the state is returned: the component renders again only when that is another. An object
   * or an array of the same members counts as the same.
   */
  readonly select?: (state: TaskProgressState) => Selected;
}

/**
 * Watches a task for as long as the component is mounted. Any number of components may watch the
 * same task; it is one subscription. Renders at most once a frame. Never throws for what a server
 * or a network does.
 *
 * @param taskId the task; nothing is watched while there is none
 * @returns its state, or what `select` makes of it; renders again when it changes
 */
export function useTaskProgress<Selected = TaskProgressState>(
  taskId: string | null | undefined,
  options: TaskProgressOptions<Selected> = {},
): Selected {
  const client = useProgressClient();
  const watched = options.enabled === false ? undefined : (taskId ?? undefined);
  const listeners = useOncePerOutcome(options);
  const watch = useCallback(
    (onChange: () => void) => watchTask(client, watched, onChange, listeners),
    [client, watched, listeners],
  );
  const name = taskId ?? "";
  const read = useMemo(() => stateReader(client, name), [client, name]);
  const select = options.select ?? (identity as (state: TaskProgressState) => Selected);

  // What was returned last stays the same object while it is the same in what it says.
  const returned = useRef<{ readonly value: Selected } | null>(null);
  const [getSnapshot, getServerSnapshot] = useMemo(() => {
    let seen: TaskProgressState | null = null;
    let last = returned.current;
    const get = () => {
      const state = read();
      if (state !== seen || !last) {
        const value = select(state);
        last = last && isSame(last.value, value) ? last : { value };
        seen = state;
      }
      return last.value;
    };
    const unknown = select({ ...blankTask(name), connection: "idle" });
    return [get, () => unknown];
  }, [read, select, name]);
  const value = useSyncExternalStore(watch, getSnapshot, getServerSnapshot);
  useEffect(() => {
    returned.current = { value };
  }, [value]);
  return value;
}

/** How the client stands with the server; renders again when that changes. */
export function useConnectionStatus(): ConnectionStatus {
  const client = useProgressClient();
  const watch = useCallback((onChange: () => void) => watchConnection(client, onChange), [client]);
  return useSyncExternalStore(
    watch,
    () => client.connection,
    () => "idle",
  );
}

/** Watches a task and the connection; changes are told once a frame. */
function watchTask(
  client: ProgressClient,
  taskId: string | undefined,
  onChange: () => void,
  listeners: TaskListeners,
): () => void {
  const soon = () => atNextFrame(onChange);
  const stopConnection = watchConnection(client, soon);
  const stopTask =
    taskId === undefined ? null : client.subscribe(taskId, { ...listeners, onChange: soon });
  return () => {
    notAtNextFrame(onChange);
    stopConnection();
    if (taskId !== undefined) {
      remember(client, taskId);
    }
    stopTask?.();
  };
}

function watchConnection(client: ProgressClient, onChange: () => void): () => void {
  client.addEventListener("ConnectionChanged", onChange);
  return () => client.removeEventListener("ConnectionChanged", onChange);
}

/** Reads a task's state with the connection's; the same object while both are the same. */
function stateReader(client: ProgressClient, taskId: string): () => TaskProgressState {
  const blank = blankTask(taskId);
  let task: TaskState | null = null;
  let both: TaskProgressState = { ...blank, connection: "idle" };
  return () => {
    const now = recall(client, taskId) ?? blank;
    const { connection } = client;
    if (now !== task || connection !== both.connection) {
      task = now;
      both = { ...now, connection };
    }
    return both;
  };
}

/**
 * The listeners of the newest options, as ones that stay the same: each result and failure is told
 * once, also when React watches a task anew.
 */
function useOncePerOutcome({ onComplete, onError }: TaskListeners): TaskListeners {
  const newest = useRef({ onComplete, onError });
  useEffect(() => {
    newest.current = { onComplete, onError };
  });
  return useMemo(() => {
    let told: unknown;
    const once = (outcome: unknown) => outcome !== told && ((told = outcome), true);
    return {
      onComplete: (result, state) => once(result) && newest.current.onComplete?.(result, state),
      onError: (error, state) => once(error) && newest.current.onError?.(error, state),
    };
  }, []);
}

function identity<Value>(value: Value): Value {
  return value;
}

/** Equal, or plain objects or arrays with equal members. */
function isSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) {
    return true;
  }
  if (!isPlain(one) || !isPlain(other) || Array.isArray(one) !== Array.isArray(other)) {
    return false;
  }
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => Object.hasOwn(other, name) && Object.is(one[name], other[name]))
  );
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
