import { memo, useEffect, useId, useRef, useState } from "react";
import type { CSSProperties, ReactNode } from "react";
import type { TaskState } from "../core/task-state.js";
import { Announcer } from "./announcer.js";
import { classes } from "./component.js";
import type { TaskComponentProps } from "./component.js";
import { ConnectionStatus } from "./connection-status.js";
import { useProgressClient, useProgressContext } from "./context.js";
import { LastSeen } from "./last-seen.js";
import { Stages } from "./stage-indicator.js";
import type { ProgressTexts } from "./texts.js";
import { RemainingTime } from "./time-estimate.js";
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
  const status = statusText(task, texts);
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
      <ProgressBar percentage={task.percentage} text={status} titleId={titleId} />
      <p className="progressd-face">
        <span className="progressd-status">{status}</span>
        <RemainingTime key={taskId} estimate={task.estimate} />
      </p>
      {/* Of a single stage the status says as much. */}
      {task.stages.length > 1 && <Stages stages={task.stages} done={task.done} />}
      <Outcome task={task} titleId={titleId} />
      <footer className="progressd-foot">
        {task.stale && <span className="progressd-stale">{texts.stale}</span>}
        <LastSeen task={task} />
        {!task.done && task.status !== "refused" && <ConnectionStatus />}
      </footer>
      {children}
      <Announcements key={taskId} task={task} />
    </section>
  );
}

/** So many percent at once are a leap. */
const LEAP = 2;

const ProgressBar = memo(function ProgressBar(props: {
  readonly percentage: number | null;
  readonly text: string;
  readonly titleId: string;
}): ReactNode {
  const { percentage, text, titleId } = props;
  const { texts } = useProgressContext();
  const barId = useId();
  const before = useRef(percentage);
  const leaps = Math.abs((percentage ?? 0) - (before.current ?? 0)) >= LEAP;
  useEffect(() => {
    before.current = percentage;
  }, [percentage]);
  return (
    <div
      className="progressd-bar"
      role="progressbar"
      id={barId}
      aria-label={texts.progress}
      aria-labelledby={`${barId} ${titleId}`}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percentage === null ? undefined : Math.floor(percentage)}
      aria-valuetext={percentage === null ? text : `${texts.percentage(percentage)}, ${text}`}
      data-indeterminate={percentage === null || undefined}
    >
      <div
        className="progressd-fill"
        data-leaps={leaps || undefined}
        style={{ "--progressd-at": `${percentage ?? 0}%` } as CSSProperties}
      />
    </div>
  );
});

/** The result, or what went wrong. */
function Outcome(props: { readonly task: TaskState; readonly titleId: string }): ReactNode {
  const { task, titleId } = props;
  const { texts } = useProgressContext();
  const linkId = useId();
  const { result, error, refusal } = task;
  if (refusal) {
    return <Refused task={task} titleId={titleId} />;
  }
  if (result) {
    return isWebAddress(result.resultUrl) ? (
      <a
        className="progressd-result"
        href={result.resultUrl}
        id={linkId}
        aria-labelledby={`${linkId} ${titleId}`}
      >
        {texts.result}
      </a>
    ) : null;
  }
  return error ? (
    <p className="progressd-error">
      {error.message} <code>{error.code}</code>
    </p>
  ) : null;
}

/** Why the task can't be shown, in words for people, and another try. */
function Refused(props: { readonly task: TaskState; readonly titleId: string }): ReactNode {
  const { task, titleId } = props;
  const { texts } = useProgressContext();
  const client = useProgressClient();
  const buttonId = useId();
  const { code } = task.refusal!;
  const words = Object.hasOwn(texts.refusal, code) ? texts.refusal[code] : texts.refusal.other;
  return (
    <div className="progressd-error">
      {words} <code>{code}</code>{" "}
      <button
        type="button"
        className="progressd-retry"
        id={buttonId}
        aria-labelledby={`${buttonId} ${titleId}`}
        onClick={() => client.refresh(task.taskId)}
      >
        {texts.retry}
      </button>
    </div>
  );
}

/** What is announced, out of sight. */
function Announcements({ task }: { readonly task: TaskState }): ReactNode {
  const { texts } = useProgressContext();
  const [said, setSaid] = useState("");
  const [announcer] = useState(() => new Announcer(setSaid));
  useEffect(() => () => announcer.stop(), [announcer]);
  useEffect(() => announcer.take(task, texts), [announcer, task, texts]);
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
