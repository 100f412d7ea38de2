/**
 * Stands in for a WebSocket to a broker whose jobs are all at work. The messages are made in a
 * worker and come one by one, each as a task of the main thread's, as those of a network do.
 */
export class Source {
  onopen: ((event: unknown) => void) | null = null;
  onmessage: ((event: { readonly data: string }) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  onclose: ((event: unknown) => void) | null = null;
  readonly #worker: Worker;

  /** @param perSecond the updates a second of each task */
  constructor(perSecond: number) {
    const script = `(${work.toString()})(${perSecond})`;
    this.#worker = new Worker(URL.createObjectURL(new Blob([script])));
    this.#worker.onmessage = ({ data }) => this.onmessage?.({ data });
    setTimeout(() => this.onopen?.({}));
  }

  send(text: string): void {
    this.#worker.postMessage(text);
  }

  close(): void {
    this.#worker.terminate();
  }
}

/** What the worker does: serves subscriptions, and lets each task go on, spread evenly. */
function work(perSecond: number): void {
  const STEP_MS = 10;
  const STAGES = ["downloading", "decoding", "transcribing", "writing"];
  const taskIds: string[] = [];
  const updates: number[] = [];
  let n = Date.now() * 1000;
  const tell = (type: string, taskId: string, payload: object) =>
    postMessage(JSON.stringify({ type, taskId, rev: `run-${++n}`, payload }));
  const update = (index: number) => {
    const taskId = taskIds[index]!;
    const percentage = ((updates[index] = updates[index]! + 1) * 0.23) % 100;
    const stage = STAGES[Math.floor(percentage / 25)]!;
    tell("progress_update", taskId, { percentage, stage, timestamp: new Date().toISOString() });
    if (updates[index]! % 5 === 0) {
      tell("time_estimate", taskId, { estimatedTimeRemaining: 400 - percentage, confidence: 0.6 });
    }
  };
  addEventListener("message", ({ data }) => {
    const { type, taskId, taskIds: several = [taskId], timestamp } = JSON.parse(data);
    if (type === "ping") {
      postMessage(JSON.stringify({ type: "pong", timestamp }));
    } else if (type === "subscribe") {
      for (const each of several as string[]) {
        const payload = { rev: null, stages: [] };
        postMessage(JSON.stringify({ type: "subscribed", taskId: each, payload }));
        taskIds.push(each);
        updates.push(0);
      }
    }
  });
  let due = 0;
  let next = 0;
  setInterval(() => {
    due += (taskIds.length * perSecond * STEP_MS) / 1000;
    for (; due >= 1; due--) {
      update(next++ % taskIds.length);
    }
  }, STEP_MS);
}
