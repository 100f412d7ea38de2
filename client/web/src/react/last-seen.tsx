import type { ReactNode } from "react";
import type { TaskState, TaskStatus } from "../core/task-state.js";
import { useProgressContext } from "./context.js";
import { useAsTimeGoesOn } from "./seconds.js";

const SILENT_FROM_S = 60;
const UNDER_WAY: readonly TaskStatus[] = ["running", "interrupted", "lost"];

/** When the job last told anything, once that is a minute ago and it hasn't ended. */
export function LastSeen({ task }: { readonly task: TaskState }): ReactNode {
  const { texts } = useProgressContext();
  const { status, lastSeen } = task;
  const isShown = lastSeen !== null && UNDER_WAY.includes(status);
  const seconds = useAsTimeGoesOn((now) => {
    const silent = isShown ? (now - lastSeen) / 1000 : 0;
    return silent < SILENT_FROM_S ? null : Math.floor(silent / 60) * 60;
  }, isShown);
  return seconds === null ? null : (
    <span className="progressd-last-seen">{texts.lastSeen(seconds)}</span>
  );
}
