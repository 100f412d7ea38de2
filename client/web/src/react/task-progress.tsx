import { useEffect, useId, useState } from "react";
import type { ReactNode } from "react";
import type { TaskState } from "../core/task-state.js";
import { Announcer } from "./announcer.js";
import { ConnectionStatus } from "./connection-status.js";
import { useProgressContext } from "./context.js";
import type { ProgressTexts } from "./texts.js";
import { classes } from "./component.js";
import { StageIndicator } from "./stage-indicator.js";
import type { TaskComponentProps } from "./component.js";
import { TimeEstimate } from "./time-estimate.js";
import { useTaskProgress } from "./use-task-progress.js";

/** What `TaskProgress` takes. */
export interface TaskProgressProps extends TaskComponentProps {
  /** What the task is, for people; its id if left out. */
  readonly title?: ReactNode;
  /** Shown below the rest. */
  readonly children?: ReactNode;
}

/** A task's card: its bar, stages and remaining time; its result, or what went wrong. */
export function TaskProgress({ taskId, title, className, children }: TaskProgressProps): ReactNode {
  const { texts } = useProgressContext();
  const task = useTaskProgress(taskId);
  const titleId = useId();
  return (
    <section
      className={classes("progressd-task", className)}
      data-status={task.status}
      data-stale={task.stale || undefined}
      aria-labelledby={titleId}
    >
      <header className="progressd-head">
        <span className="progressd-title" id={titleId}>
          {title ?? taskId}
        </span>
        {task.percentage !== null && (
          <span className="progressd-percentage" aria-hidden="true">
            {texts.percentage(task.percentage)}
          </span>
        )}
      </header>
      <ProgressBar task={task} />
      <p className="progressd-face">
        <span className="progressd-status">{statusText(task, texts)}</span>
        <TimeEstimate taskId={taskId} />
      </p>
      {/* Of a single stage the status says as much. */}
      {task.stages.length > 1 && <StageIndicator taskId={taskId} />}
      <Outcome task={task} />
      <footer className="progressd-foot">
        {task.stale && <span className="progressd-stale">{texts.stale}</span>}
        {!task.done && <ConnectionStatus />}
      </footer>
      {children}
      <Announcements task={task} />
    </section>
  );
}

function ProgressBar({ task }: { readonly task: TaskState }): ReactNode {
  const { texts } = useProgressContext();
  const { percentage } = task;
  const text = statusText(task, texts);
  return (
    <div
      className="progressd-bar"
      role="progressbar"
      aria-label={texts.progress}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percentage === null ? undefined : Math.floor(percentage)}
      aria-valuetext={percentage === null ? text : `${texts.percentage(percentage)}, ${text}`}
      data-indeterminate={percentage === null || undefined}
    >
      <div className="progressd-fill" style={{ inlineSize: `${percentage ?? 0}%` }} />
    </div>
  );
}

/** The result, or what went wrong. */
function Outcome({ task }: { readonly task: TaskState }): ReactNode {
  const { texts } = useProgressContext();
  const { result, error, refusal } = task;
  if (result) {
    return isWebAddress(result.resultUrl) ? (
      <a className="progressd-result" href={result.resultUrl}>
        {texts.result}
      </a>
    ) : null;
  }
  const failure = refusal ?? error;
  return failure ? (
    <p className="progressd-error">
      {failure.message} <code>{failure.code}</code>
    </p>
  ) : null;
}

/** What is announced, out of sight. */
function Announcements({ task }: { readonly task: TaskState }): ReactNode {
  const { texts } = useProgressContext();
  const { taskId } = task;
  const [said, setSaid] = useState("");
  const [announcer, setAnnouncer] = useState<Announcer | null>(null);
  useEffect(() => {
    const fresh = new Announcer(setSaid);
    setAnnouncer(fresh);
    setSaid("");
    return () => fresh.stop();
  }, [taskId]);
  useEffect(() => announcer?.take(task, texts), [announcer, task, texts]);
  return (
    <span className="progressd-announcements" role="status" aria-live="polite">
      {said}
    </span>
  );
}

function statusText({ status, stage }: TaskState, texts: ProgressTexts): string {
  return status === "running" && stage !== null ? texts.stage(stage) : texts.status[status];
}

/** A result is the job's word: nothing but an address of the web becomes a link. */
function isWebAddress(url: string): boolean {
  try {
    return /^https?:$/.test(new URL(url, globalThis.location?.href).protocol);
  } catch {
    return false;
  }
}
