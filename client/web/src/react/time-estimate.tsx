import { useState } from "react";
import type { ReactNode } from "react";
import type { TimeEstimate as Estimate } from "../core/task-state.js";
import { classes } from "./component.js";
import type { TaskComponentProps } from "./component.js";
import { useProgressContext } from "./context.js";
import { Countdown } from "./estimate.js";
import { useAsTimeGoesOn } from "./seconds.js";
import { useTaskProgress } from "./use-task-progress.js";

/**
 * The time that a task may still take, without jumping about, or that it takes longer than was
 * expected; nothing while that is unknown.
 */
export function TimeEstimate({ taskId, className }: TaskComponentProps): ReactNode {
  const estimate = useTaskProgress(taskId, { select: (task) => task.estimate });
  return <RemainingTime key={taskId} estimate={estimate} className={className} />;
}

/** The remaining time of one task. */
export function RemainingTime(props: {
  readonly estimate: Estimate | null;
  readonly className?: string | undefined;
}): ReactNode {
  const { estimate, className } = props;
  const { texts } = useProgressContext();
  const [countdown] = useState(() => new Countdown());
  const remaining = useAsTimeGoesOn((now) => {
    countdown.take(estimate);
    return countdown.at(now);
  }, estimate !== null);
  return remaining === null ? null : (
    <span
      className={classes("progressd-estimate", className)}
      data-overdue={remaining === "overdue" || undefined}
    >
      {remaining === "overdue" ? texts.overdue : texts.remaining(remaining)}
    </span>
  );
}
