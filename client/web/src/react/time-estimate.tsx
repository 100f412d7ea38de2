import { useEffect, useRef, useState } from "react";
import type { ReactNode } from "react";
import type { TaskState } from "../core/task-state.js";
import { useProgressContext } from "./context.js";
import { expectedEnd, shownSeconds } from "./estimate.js";
import { classes } from "./component.js";
import type { TaskComponentProps } from "./component.js";
import { useTaskProgress } from "./use-task-progress.js";

const TICK_MS = 1_000;

/** The time that a task may still take, without jumping about; nothing while that is unknown. */
export function TimeEstimate({ taskId, className }: TaskComponentProps): ReactNode {
  const { texts } = useProgressContext();
  const seconds = useRemainingSeconds(useTaskProgress(taskId));
  return seconds === null ? null : (
    <span className={classes("progressd-estimate", className)}>{texts.remaining(seconds)}</span>
  );
}

/** The remaining time as it is to be shown, in seconds; null while unknown. */
function useRemainingSeconds({ taskId, estimate }: TaskState): number | null {
  const [shown, setShown] = useState<number | null>(null);
  const end = useRef<number | null>(null);
  useEffect(() => {
    end.current = null;
    setShown(null);
  }, [taskId]);
  useEffect(() => {
    if (!estimate) {
      end.current = null;
      setShown(null);
      return;
    }
    const expected = (end.current = expectedEnd(end.current, estimate));
    const show = () => {
      const seconds = Math.max(0, (expected - Date.now()) / 1000);
      setShown((before) => shownSeconds(before, seconds));
    };
    show();
    const tick = setInterval(show, TICK_MS);
    return () => clearInterval(tick);
  }, [estimate]);
  return estimate && shown;
}
