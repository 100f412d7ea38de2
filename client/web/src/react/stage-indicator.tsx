import type { ReactNode } from "react";
import { classes } from "./component.js";
import type { TaskComponentProps } from "./component.js";
import { useProgressContext } from "./context.js";
import { useTaskProgress } from "./use-task-progress.js";

/** The stages that a task has been through, and the one that it is in. */
export function StageIndicator({ taskId, className }: TaskComponentProps): ReactNode {
  const { texts } = useProgressContext();
  const { stages, done } = useTaskProgress(taskId);
  if (stages.length === 0) {
    return null;
  }
  const last = stages.length - 1;
  return (
    <ol className={classes("progressd-stages", className)} aria-label={texts.stages}>
      {stages.map(({ stage }, index) => {
        const isCurrent = index === last && !done;
        return (
          <li
            key={index}
            className="progressd-stage"
            data-current={isCurrent || undefined}
            aria-current={isCurrent ? "step" : undefined}
          >
            {texts.stage(stage)}
          </li>
        );
      })}
    </ol>
  );
}
