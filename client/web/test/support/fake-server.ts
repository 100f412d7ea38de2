/** A server that tests hold in their hand: its WebSocket and its `fetch`. */
import { vi } from "vitest";
import { ProgressClient } from "../../src/index.js";
import type { ProgressClientOptions, ProgressEvents } from "../../src/index.js";

/** One connection, seen from the server. */
export class FakeSocket {
  onopen: ((event: unknown) => void) | null = null;
  onmessage: ((event: unknown) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  onclose: ((event: unknown) => void) | null = null;
  /** What the client said. */
  readonly said: any[] = [];
  /** The code that the client closed with, or 1005 if it gave none. */
  closedByClient: number | undefined;

  constructor(readonly url: string) {}

  send(text: string): void {
    this.said.push(JSON.parse(text));
  }

  close(code = 1005): void {
    this.closedByClient ??= code;
  }

  /** Takes the connection, and lets the client fetch tokens. */
  async open(): Promise<void> {
    this.onopen?.({});
    await settle();
  }

  /** Sends a message. */
  tell(message: object): void {
    this.tellText(JSON.stringify(message));
  }

  tellText(data: unknown): void {
    this.onmessage?.({ data });
  }

  /** Closes it, from the server's side. */
  drop(code = 1006): void {
    this.onclose?.({ code });
  }

  /** What the client said, of one type. */
  heard(type: string): any[] {
    return this.said.filter((message) => message.type === type);
  }
}

/** What falls due at about the same time is gathered into one message. */
export const GATHER_MS = 10;

/** A token that names these tasks, as the broker reads it. */
export function jwt(tasks: readonly string[], forSeconds = 3600, id = ""): string {
  const exp = Math.floor(Date.now() / 1000) + forSeconds;
  const claims = Buffer.from(JSON.stringify({ tasks, exp, jti: id })).toString("base64url");
  return `eyJhbGciOiJIUzI1NiJ9.${claims}.c2lnbmF0dXJl`;
}

/** The task that most tests watch. */
export const TASK = "42";

export function rev(n: number, run = "run1"): string {
  return `${run}-${n}`;
}

export function progress(n: number, percentage: number, stage = "transcribing", run = "run1") {
  const payload = { percentage, stage, timestamp: "2026-11-23T06:33:33.426Z" };
  return { type: "progress_update", taskId: TASK, rev: rev(n, run), payload };
}

export function stageChange(n: number, fromStage: string | null, toStage: string) {
  const payload = { fromStage, toStage, timestamp: "2026-11-23T06:33:33.426Z" };
  return { type: "stage_change", taskId: TASK, rev: rev(n), payload };
}

export function estimate(n: number, estimatedTimeRemaining: number, confidence = 1) {
  const payload = { estimatedTimeRemaining, confidence };
  return { type: "time_estimate", taskId: TASK, rev: rev(n), payload };
}

export function complete(n: number, taskId = TASK) {
  const payload = { resultUrl: "https://example.com/42.txt", duration: 31.4 };
  return { type: "complete", taskId, rev: rev(n), payload };
}

export function failure(n: number, code = "DECODER", retryable = false) {
  return {
    type: "error",
    taskId: TASK,
    rev: rev(n),
    payload: { code, message: "broken", retryable },
  };
}

export function subscribed(head: string | null, taskId = TASK, stages: object[] = []) {
  return { type: "subscribed", taskId, payload: { rev: head, stages } };
}

export function refused(code: string, retryable: boolean, taskId = TASK) {
  const payload = { code, message: "no", retryable, scope: "request" };
  return { type: "error", taskId, payload };
}

/** An answer to a poll. */
export function answer(status: number, body: unknown, headers: Record<string, string> = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return new Response(status === 304 ? null : text, { status, headers });
}

export function state(head: string, messages: object[], done = false) {
  return { taskId: TASK, rev: head, done, stages: [], messages };
}

/** A client, the server that it talks to, and all the events that it told. */
export function setUp(options: Partial<ProgressClientOptions> = {}) {
  const sockets: FakeSocket[] = [];
  // Not a spy: what a client still warns of while its test ends is expected, too.
  const warn = (console.warn = vi.fn<(...words: unknown[]) => void>());
  const tokens = vi.fn(async (taskId: string) => `token of ${taskId}, ${tokens.mock.calls.length}`);
  const fetch = vi.fn(async (_url: string, _init: RequestInit): Promise<Response> =>
    answer(503, "<html>"),
  );
  const client = new ProgressClient({
    url: "https://broker.example",
    token: tokens,
    fetch,
    WebSocket: class extends FakeSocket {
      constructor(url: string) {
        super(url);
        sockets.push(this);
      }
    },
    ...options,
  });
  const events: {
    [T in keyof ProgressEvents]: { type: T; detail: ProgressEvents[T] };
  }[keyof ProgressEvents][] = [];
  for (const type of EVENT_TYPES) {
    client.addEventListener(type, (event) => {
      events.push({ type, detail: event.detail } as (typeof events)[number]);
    });
  }
  return {
    client,
    sockets,
    tokens,
    fetch,
    events,
    /** What a developer reads in the console. */
    warnings: () => warn.mock.calls.map(([text]) => String(text)),
    /** The newest connection. */
    socket: () => sockets.at(-1)!,
    /** The details of the events of one type. */
    told: <T extends keyof ProgressEvents>(type: T) =>
      events
        .filter((event) => event.type === type)
        .map(({ detail }) => detail as ProgressEvents[T]),
    /** The codes of the problems told so far. */
    problems: () =>
      events
        .filter(({ type }) => type === "ProblemReported")
        .map(({ detail }) => (detail as any).code),
  };
}

const EVENT_TYPES = [
  "ProgressUpdated",
  "StageChanged",
  "TimeEstimateUpdated",
  "ProgressCompleted",
  "ProgressFailed",
  "ProgressReset",
  "TaskChanged",
  "ConnectionChanged",
  "ProblemReported",
] as const;

/** Lets all promises go on that can. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await Promise.resolve();
  }
}

/** Watches the task over an open connection, of which it knows nothing yet. */
export async function live(options: Partial<ProgressClientOptions> = {}) {
  const world = setUp(options);
  const stop = world.client.subscribe(TASK);
  await world.socket().open();
  world.socket().tell(subscribed(null));
  return { ...world, stop };
}

/** Lets WebSocket fail until the client polls: in vain, and again after a second. No pause is random. */
export async function blocked(options: Partial<ProgressClientOptions> = {}) {
  vi.spyOn(Math, "random").mockReturnValue(0);
  const world = setUp(options);
  const stop = world.client.subscribe(TASK);
  for (let attempt = 0; attempt < 5; attempt++) {
    world.socket().drop();
    await vi.advanceTimersByTimeAsync(0);
  }
  world.socket().drop();
  await settle();
  return { ...world, stop };
}
