/** The two parts of a rev: the run it belongs to, and its place in the order of a task's revs. */
export interface Rev {
  readonly _run: string;
  readonly _n: number;
}

const FORM = /^([0-9a-z]{1,13})-([0-9]{1,16})$/;

/** Takes a rev apart; null if the text isn't one. */
export function parseRev(text: unknown): Rev | null {
  const parts = typeof text === "string" && FORM.exec(text);
  return parts ? { _run: parts[1]!, _n: Number(parts[2]) } : null;
}
