import { memo, useCallback, useState, useSyncExternalStore } from "react";
import type { ReactNode } from "react";
import type { ConnectionStatus } from "@progressd/client";
import { useTaskProgress } from "@progressd/client/react";
import { useDelay } from "./delay.js";
import type { Journal, JournalEntry } from "./journal.js";

const transports: Readonly<Record<ConnectionStatus, string>> = {
  idle: "none: nothing more is to come",
  live: "WebSocket",
  reconnecting: "WebSocket, being connected",
  polling: "HTTP polling; WebSocket is tried again every minute",
  offline: "none: the broker can’t be reached",
};

/** How a task's progress gets here. The log is there only while somebody has it open. */
export function UnderTheHood(props: {
  readonly taskId: string;
  readonly journal: Journal;
}): ReactNode {
  const task = useTaskProgress(props.taskId);
  const delay = useDelay(task);
  const [isOpen, setOpen] = useState(false);
  return (
    <details className="hood" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>What is happening</summary>
      <dl>
        <dt>Transport</dt>
        <dd data-fact="transport">{transports[task.connection]}</dd>
        <dt>Rev</dt>
        <dd data-fact="rev">{task.rev ?? "none yet"}</dd>
        <dt>Job to eye</dt>
        <dd data-fact="delay">
          {delay === null
            ? "nothing measured yet"
            : `${milliseconds(delay.last)}; median ${milliseconds(delay.median)}, worst ${milliseconds(delay.worst)}`}
        </dd>
      </dl>
      {isOpen && <Log {...props} />}
    </details>
  );
}

function Log(props: { readonly taskId: string; readonly journal: Journal }): ReactNode {
  const { taskId, journal } = props;
  const subscribe = useCallback(
    (listener: () => void) => journal.subscribe(taskId, listener),
    [taskId, journal],
  );
  const entries = useSyncExternalStore(subscribe, () => journal.entriesOf(taskId));
  return (
    <ol className="log" tabIndex={0} aria-label={`Events of ${taskId}, newest first`}>
      {entries.map((entry) => (
        <Entry key={entry.id} entry={entry} />
      ))}
    </ol>
  );
}

const Entry = memo(({ entry }: { readonly entry: JournalEntry }) => (
  <li>
    <time dateTime={entry.at.toISOString()}>{clock(entry.at)}</time>{" "}
    <span className="log-type">{entry.type}</span> <span>{entry.text}</span>
  </li>
));

function milliseconds(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)}\u00a0ms`;
}

function clock(at: Date): string {
  const digits = (value: number, length: number) => String(value).padStart(length, "0");
  return `${digits(at.getHours(), 2)}:${digits(at.getMinutes(), 2)}:${digits(at.getSeconds(), 2)}.${digits(at.getMilliseconds(), 3)}`;
}
