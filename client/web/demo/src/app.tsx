import { useEffect, useSyncExternalStore } from "react";
import type { FormEvent, ReactNode } from "react";
import { ConnectionStatus, TaskProgress, useProgressClient } from "@progressd/client/react";
import type { FragmentStore } from "./fragment.js";
import type { Journal } from "./journal.js";
import { UnderTheHood } from "./under-the-hood.js";

/** The page: the watched tasks, and the means to watch others. */
export function App(props: {
  readonly fragment: FragmentStore;
  readonly journal: Journal;
}): ReactNode {
  const { fragment, journal } = props;
  const { token, tasks } = useSyncExternalStore(fragment.subscribe, () => fragment.current);
  useRetryWith(token, tasks);
  const add = (taskId: string) => {
    if (!tasks.includes(taskId)) {
      fragment.change({ tasks: [...tasks, taskId] });
    }
  };
  const remove = (taskId: string) =>
    fragment.change({ tasks: tasks.filter((other) => other !== taskId) });
  return (
    <>
      <header className="top">
        <h1>progressd</h1>
        <ConnectionStatus />
        <TextForm
          label="Task id"
          action="Watch"
          pattern="[A-Za-z0-9._~:\-]{1,128}"
          hint="1 to 128 letters, digits and . _ ~ : -"
          onText={add}
        />
      </header>
      <main>
        {token === "" ? (
          <NoToken />
        ) : tasks.length === 0 ? (
          <p className="note">Nothing is watched. Name a task above, as often as you like.</p>
        ) : (
          <ul className="cards">
            {tasks.map((taskId) => (
              <li key={taskId} data-task={taskId}>
                <TaskProgress taskId={taskId}>
                  <UnderTheHood taskId={taskId} journal={journal} />
                </TaskProgress>
                <button
                  className="remove"
                  aria-label={`Stop watching ${taskId}`}
                  title="Stop watching"
                  onClick={() => remove(taskId)}
                >
                  ×
                </button>
              </li>
            ))}
          </ul>
        )}
      </main>
      <details className="token" open={token === ""}>
        <summary>{token === "" ? "Give a token" : "Give another token"}</summary>
        <TextForm
          label="Token"
          action="Use it"
          type="password"
          onText={(text) => fragment.change({ token: text })}
        />
      </details>
    </>
  );
}

/** Asks again for what another token was refused. */
function useRetryWith(token: string, tasks: readonly string[]): void {
  const client = useProgressClient();
  useEffect(() => {
    for (const taskId of tasks) {
      if (client.getState(taskId)?.refusal) {
        client.refresh(taskId);
      }
    }
    // Another token is the reason to ask again; another list of tasks isn't.
  }, [client, token]);
}

function NoToken(): ReactNode {
  return (
    <div className="note">
      <p>A token says which tasks may be watched, and there is none in this page’s address.</p>
      <p>
        On the broker’s machine <code>progressctl token TASK…</code> makes one. It belongs after the{" "}
        <code>#</code>, which no browser sends to a server: <code>#token=…&amp;tasks=demo,42</code>
      </p>
    </div>
  );
}

/** One field and its button. */
function TextForm(props: {
  readonly label: string;
  readonly action: string;
  readonly type?: "text" | "password";
  readonly pattern?: string;
  readonly hint?: string;
  readonly onText: (text: string) => void;
}): ReactNode {
  const { label, action, type = "text", pattern, hint, onText } = props;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    onText(String(new FormData(form).get("text")).trim());
    form.reset();
  };
  return (
    <form className="text-form" onSubmit={submit}>
      <input
        name="text"
        type={type}
        aria-label={label}
        placeholder={label}
        pattern={pattern}
        title={hint}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        required
      />
      <button>{action}</button>
    </form>
  );
}
