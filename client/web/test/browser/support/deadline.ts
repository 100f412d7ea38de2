import { setTimeout as pause } from "node:timers/promises";

const EVERY_MS = 20;

/** What `probe` finds, as soon as it is something; throws when it is nothing for too long. */
export async function eventually<Found>(
  what: string,
  probe: () => Promise<Found> | Found,
  withinMs = 15_000,
): Promise<NonNullable<Exclude<Found, false>>> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const found = await probe();
    if (found) {
      return found as NonNullable<Exclude<Found, false>>;
    }
    if (Date.now() > deadline) {
      throw new Error(`not within ${withinMs} ms: ${what}`);
    }
    await pause(EVERY_MS);
  }
}
