import type { ReactNode } from "react";
import { useProgressContext } from "./context.js";
import { classes } from "./component.js";
import { useConnectionStatus } from "./use-task-progress.js";

/** How the client stands with the server, in a word and a colour; nothing when all tasks have ended. */
export function ConnectionStatus({ className }: { readonly className?: string }): ReactNode {
  const { texts } = useProgressContext();
  const connection = useConnectionStatus();
  return connection === "idle" ? null : (
    <span className={classes("progressd-connection", className)} data-connection={connection}>
      {texts.connection[connection]}
    </span>
  );
}
