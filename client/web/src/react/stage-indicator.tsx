import { memo } from "react";
import type { ReactNode } from "react";
import type { StageEntry } from "../core/protocol.js";
import { classes } from "./component.js";
import type { TaskComponentProps } from "./component.js";
import { useProgressContext } from "./context.js";
import { useTaskProgress } from "./use-task-progress.js";

/** The stages that a task has been through, and the one that it is in. */
export function StageIndicator({ taskId, className }: TaskComponentProps): ReactNode {
  const state = useTaskProgress(taskId, { select: ({ stages, done }) => ({ stages, done }) });
  return <Stages {...state} className={className} />;
}

/** A list of stages, of which the last one is the current one unless all is done. */
export const Stages = memo(function Stages(props: {
  readonly stages: readonly StageEntry[];
  readonly done: boolean;
  readonly className?: string | undefined;
}): ReactNode {
  const { stages, done, className } = props;
  const { texts } = useProgressContext();
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
});
