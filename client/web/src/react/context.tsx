import { createContext, useContext, useEffect, useMemo, useRef } from "react";
import type { ReactNode } from "react";
import { ProgressClient } from "../core/client.js";
import type { TokenProvider } from "../core/tokens.js";
import { mergeTexts } from "./texts.js";
import type { ProgressTexts, SomeProgressTexts } from "./texts.js";

/** What the provider takes: a client, or what it takes to make one. */
export type ProgressProviderProps = {
  readonly children?: ReactNode;
  /** Words in another language, or others; those left out stay English. */
  readonly texts?: SomeProgressTexts;
} & (
  | {
      /** A client of your own, which outlives the provider. */
      readonly client: ProgressClient;
    }
  | {
      /** The broker's address; the page's own origin if left out. */
      readonly url?: string;
      /** Gives tokens; may be another function with each render. */
      readonly token: TokenProvider;
      readonly client?: never;
    }
);

interface Context {
  readonly client: ProgressClient;
  readonly texts: ProgressTexts;
}

const ProgressContext = createContext<Context | null>(null);

/** Gives a client to the hooks and components below it. */
export function ProgressProvider(props: ProgressProviderProps): ReactNode {
  const own = useOwnClient(props);
  const client = props.client ?? own;
  const { texts } = props;
  const context = useMemo(() => ({ client, texts: mergeTexts(texts) }), [client, texts]);
  return <ProgressContext.Provider value={context}>{props.children}</ProgressContext.Provider>;
}

/** A client that lives as long as the provider, with the address and the tokens of its props. */
function useOwnClient(props: ProgressProviderProps): ProgressClient {
  const url = props.client ? undefined : props.url;
  const token = useRef<TokenProvider>(() => "");
  useEffect(() => {
    token.current = props.client ? () => "" : props.token;
  });
  const client = useMemo(
    () =>
      new ProgressClient({
        ...(url !== undefined && { url }),
        token: (taskId) => token.current(taskId),
      }),
    [url],
  );
  useEffect(() => {
    client.connect();
    return () => client.disconnect();
  }, [client]);
  return client;
}

/**
 * The client that the hooks and components use.
 *
 * @throws Error when there is no `ProgressProvider` above
 */
export function useProgressClient(): ProgressClient {
  return useProgressContext().client;
}

/** The client and the texts; throws when there is no provider above. */
export function useProgressContext(): Context {
  const context = useContext(ProgressContext);
  if (!context) {
    throw new Error("there is no ProgressProvider above this component");
  }
  return context;
}
