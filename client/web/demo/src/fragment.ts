/** What the page's address says after the `#`, which no browser sends to a server. */
export interface Fragment {
  /** The token (JWT) to watch with; empty if there is none. */
  readonly token: string;
  /** The ids of the watched tasks. */
  readonly tasks: readonly string[];
}

/** Keeps the watched tasks and the token in the address: `#token=…&tasks=demo,42`. */
export class FragmentStore {
  #current = parse(location.hash);
  readonly #listeners = new Set<() => void>();

  constructor() {
    addEventListener("hashchange", () => this.#take(parse(location.hash)));
  }

  get current(): Fragment {
    return this.#current;
  }

  /** Changes the address without a new entry in the history. */
  change(change: Partial<Fragment>): void {
    const fragment = { ...this.#current, ...change };
    history.replaceState(null, "", format(fragment));
    this.#take(fragment);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #take(fragment: Fragment): void {
    this.#current = fragment;
    this.#listeners.forEach((listener) => listener());
  }
}

function parse(hash: string): Fragment {
  const members = new URLSearchParams(hash.slice(1));
  const tasks = (members.get("tasks") ?? "").split(",").map((taskId) => taskId.trim());
  return {
    token: (members.get("token") ?? "").trim(),
    tasks: [...new Set(tasks)].filter((taskId) => taskId !== ""),
  };
}

function format({ token, tasks }: Fragment): string {
  return `#token=${encodeURIComponent(token)}&tasks=${tasks.map(encodeURIComponent).join(",")}`;
}
