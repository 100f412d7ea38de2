import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  TASK,
  blocked,
  complete,
  live,
  progress,
  rev,
  setUp,
  settle,
  state,
  subscribed,
} from "../support/fake-server.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe("the heartbeat", () => {
  test("pings every 30 s with the time", async () => {
    const { socket } = await live();
    await vi.advanceTimersByTimeAsync(29_999);
    expect(socket().heard("ping")).toHaveLength(0);
    for (let pings = 1; pings <= 3; pings++) {
      await vi.advanceTimersByTimeAsync(pings === 1 ? 1 : 30_000);
      expect(socket().heard("ping")).toHaveLength(pings);
      expect(socket().heard("ping").at(-1).timestamp).toBe(Date.now());
      socket().tell({ type: "pong", timestamp: Date.now() });
    }
    expect(socket().closedByClient).toBeUndefined();
  });

  test("gives the connection up when no pong comes in 10 s, and tells of it", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const { client, sockets, socket, problems } = await live();
    await vi.advanceTimersByTimeAsync(30_000);
    socket().tell(progress(1, 10)); // no pong
    await vi.advanceTimersByTimeAsync(9_999);
    expect(socket().closedByClient).toBeUndefined();
    const first = socket();
    await vi.advanceTimersByTimeAsync(1);
    expect(first.closedByClient).toBeDefined();
    expect(problems()).toEqual(["NO_PONG", "CONNECTION_LOST"]);
    expect(client.connection).toBe("reconnecting");
    await vi.advanceTimersByTimeAsync(500);
    expect(sockets).toHaveLength(2);
    first.tell(progress(2, 20)); // a dead connection's last words
    expect(client.getState(TASK)!.percentage).toBe(10);
  });

  test("checks at once when the network comes or goes, and when the page becomes visible", async () => {
    const page = new EventTarget();
    const document = Object.assign(new EventTarget(), { visibilityState: "hidden" });
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    vi.stubGlobal("document", document);
    const { socket } = await live();
    document.dispatchEvent(new Event("visibilitychange"));
    expect(socket().heard("ping")).toHaveLength(0);
    document.visibilityState = "visible";
    document.dispatchEvent(new Event("visibilitychange"));
    expect(socket().heard("ping")).toHaveLength(1);
    socket().tell({ type: "pong" });
    page.dispatchEvent(new Event("online"));
    expect(socket().heard("ping")).toHaveLength(2);
    page.dispatchEvent(new Event("offline")); // while a pong is being waited for
    expect(socket().heard("ping")).toHaveLength(2);
  });

  test("nothing listens and no timer runs when there is nothing to watch", async () => {
    const page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    const { socket } = await live();
    expect(getEventListeners(page, "online")).toHaveLength(1);
    socket().tell(complete(1));
    expect(getEventListeners(page, "online")).toHaveLength(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("checks at once on waking from sleep", async () => {
    const { socket } = await live();
    vi.setSystemTime(Date.now() + 3_600_000); // the clock went on, the timers didn't
    await vi.advanceTimersByTimeAsync(5_000);
    expect(socket().heard("ping")).toHaveLength(1);
  });
});

describe("reconnection", () => {
  test("has pauses from 1 s, doubling, with full jitter, at most 5", async () => {
    const random = vi.spyOn(Math, "random").mockReturnValue(0.5);
    const { sockets, socket, client } = setUp();
    client.subscribe(TASK);
    for (const [attempt, bound] of [1_000, 2_000, 4_000, 8_000, 16_000].entries()) {
      random.mockReturnValue([0.01, 0.25, 0.5, 0.75, 0.99][attempt]!);
      socket().drop();
      const pause = bound * [0.01, 0.25, 0.5, 0.75, 0.99][attempt]!;
      await vi.advanceTimersByTimeAsync(pause - 1);
      expect(sockets).toHaveLength(attempt + 1);
      await vi.advanceTimersByTimeAsync(1);
      expect(sockets).toHaveLength(attempt + 2);
      expect(client.connection).toBe("reconnecting");
    }
    socket().drop();
    expect(client.connection, "blocked, and polls fail as well").toBe("offline");
  });

  test("resumes with the rev that it has", async () => {
    const { client, socket } = await live();
    socket().tell(progress(7, 40));
    socket().drop();
    expect(client.getState(TASK)).toMatchObject({ percentage: 40, stale: true });
    await vi.advanceTimersByTimeAsync(1_000);
    await socket().open();
    expect(socket().heard("subscribe")[0].rev).toBe(rev(7));
    socket().tell(subscribed(rev(7)));
    expect(client.getState(TASK)).toMatchObject({ percentage: 40, stale: false });
  });

  test("obeys reconnect.afterMs, with jitter, and no event cuts it short", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    const { sockets, socket } = await live();
    socket().tell({ type: "reconnect", taskId: "", payload: { afterMs: 20_000 } });
    socket().drop(1012);
    page.dispatchEvent(new Event("online"));
    await vi.advanceTimersByTimeAsync(20_499);
    expect(sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(sockets).toHaveLength(2);
  });

  test("counts afterMs from when it is told, also when it is closed later", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const { sockets, socket } = await live();
    socket().tell({ type: "reconnect", payload: { afterMs: 20_000 } });
    await vi.advanceTimersByTimeAsync(20_000);
    socket().drop(1012);
    await vi.advanceTimersByTimeAsync(500);
    expect(sockets).toHaveLength(2);
  });

  test("an absurd afterMs isn't waited for longer than 10 minutes", async () => {
    const { sockets, socket } = await live();
    socket().tell({ type: "reconnect", payload: { afterMs: 1e12 } });
    socket().drop(1012);
    await vi.advanceTimersByTimeAsync(599_000);
    expect(sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2_001);
    expect(sockets).toHaveLength(2);
  });

  test("doesn't wait any longer when the network comes back", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.99);
    const page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    vi.stubGlobal("navigator", { onLine: false });
    const { client, sockets, socket } = await live();
    socket().drop();
    expect(client.connection).toBe("offline");
    vi.stubGlobal("navigator", { onLine: true });
    page.dispatchEvent(new Event("online"));
    expect(sockets).toHaveLength(2);
    expect(client.connection).toBe("reconnecting");
  });

  test("4403 ends it with an error", async () => {
    const { client, sockets, socket, problems, told } = await live();
    socket().drop(4403);
    expect(problems()).toEqual(["FORBIDDEN"]);
    expect(told("ProblemReported")[0]!.closeCode).toBe(4403);
    expect(client.connection).toBe("idle");
    expect(client.getState(TASK)).toMatchObject({
      status: "refused",
      refusal: { code: "FORBIDDEN" },
    });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(sockets).toHaveLength(1);
  });

  test("has all attempts again only after a connection that was good for 10 s", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    const { client, socket } = setUp();
    client.subscribe(TASK);
    for (let attempt = 0; attempt < 6; attempt++) {
      await socket().open();
      socket().tell(subscribed(null)); // takes the connection, only to drop it
      expect(client.connection).toBe("live");
      socket().drop();
      if (attempt < 5) {
        await vi.advanceTimersByTimeAsync(500 * 2 ** attempt);
      }
    }
    expect(client.connection).toBe("polling");
    await vi.advanceTimersByTimeAsync(60_000);
    await socket().open();
    socket().tell(subscribed(null));
    await vi.advanceTimersByTimeAsync(10_000);
    socket().drop();
    expect(client.connection).toBe("reconnecting");
  });

  test("gives up a connection that doesn't open, and one that never says anything", async () => {
    const { client, socket, problems } = setUp();
    client.subscribe(TASK);
    const first = socket();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(first.closedByClient).toBeDefined();
    expect(problems().filter((code) => code !== "POLL_FAILED")).toEqual([
      "NO_ANSWER",
      "CONNECTION_LOST",
    ]);
    await vi.advanceTimersByTimeAsync(1_000);
    const second = socket();
    await second.open();
    expect(second.heard("subscribe")).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(second.closedByClient).toBeDefined();
  });

  test("an address that is none, or no WebSocket, is no reason to throw", async () => {
    const { client, problems } = setUp({ url: "http://[" });
    client.subscribe(TASK);
    expect(problems()).toEqual(["CONNECTION_LOST"]);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(client.connection).toBe("offline");
  });
});

describe("polling", () => {
  /** What the browser keeps for a tab. */
  function stubStorage() {
    const kept = new Map<string, string>();
    vi.stubGlobal("document", new EventTarget());
    vi.stubGlobal("sessionStorage", {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => kept.set(key, value),
      removeItem: (key: string) => kept.delete(key),
    });
  }
  const fetch = vi.fn(async () =>
    Response.json({ ...state(rev(3), [progress(3, 30)]) }, { headers: { "Retry-After": "2" } }),
  );

  test("begins when WebSocket is refused, and is gone when it works", async () => {
    const { client, sockets, socket } = setUp({ fetch });
    client.subscribe(TASK);
    socket().drop();
    await settle();
    expect(client.getState(TASK)!.percentage).toBe(30);
    expect(client.connection).toBe("polling");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(sockets).toHaveLength(2);
    await socket().open();
    socket().tell(subscribed(rev(3)));
    expect(client.connection).toBe("live");
    fetch.mockClear();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(fetch).not.toHaveBeenCalled();
  });

  test("begins within 3 s when WebSocket gets no answer, and not at once", async () => {
    const { client } = setUp({ fetch });
    client.subscribe(TASK);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(client.getState(TASK)!.status).toBe("connecting");
    await vi.advanceTimersByTimeAsync(2_000);
    expect(client.getState(TASK)!.percentage).toBe(30);
  });

  test("doesn't take the place of a connection that was of use", async () => {
    const { client, socket } = await live({ fetch });
    fetch.mockClear();
    socket().drop();
    await vi.advanceTimersByTimeAsync(1_000);
    socket().drop();
    await settle();
    expect(fetch).not.toHaveBeenCalled();
    expect(client.connection).toBe("reconnecting");
  });

  test("is what the next page begins with, for ten minutes or until WebSocket works", async () => {
    stubStorage();
    const page = async () => {
      const world = setUp({ fetch });
      world.client.subscribe(TASK);
      await settle();
      return world;
    };
    const first = await page();
    first.socket().drop();
    await settle();
    first.client.disconnect();
    const second = await page();
    expect(second.client.getState(TASK)!.percentage).toBe(30);
    expect(second.sockets).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(second.sockets).toHaveLength(1);
    await second.socket().open();
    second.socket().tell(subscribed(rev(3)));
    second.client.disconnect();
    const third = await page();
    expect(third.sockets).toHaveLength(1);
    third.socket().drop();
    await settle();
    third.client.disconnect();
    vi.setSystemTime(Date.now() + 600_000);
    expect((await page()).sockets).toHaveLength(1);
  });

  test("WebSocket is tried again every 60 s, and takes over when it works", async () => {
    const { client, sockets, socket, fetch } = await blocked();
    fetch.mockImplementation(async () => new Response(null, { status: 304 }));
    expect(sockets).toHaveLength(6);
    await vi.advanceTimersByTimeAsync(59_999);
    expect(sockets).toHaveLength(6);
    await vi.advanceTimersByTimeAsync(1);
    expect(sockets).toHaveLength(7);
    socket().drop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sockets).toHaveLength(8);
    await socket().open();
    socket().tell(subscribed(rev(1)));
    socket().tell(progress(1, 10));
    expect(client.connection).toBe("live");
    const polls = fetch.mock.calls.length;
    await vi.advanceTimersByTimeAsync(25_000);
    expect(fetch).toHaveBeenCalledTimes(polls);
  });

  test("goes on while WebSocket is tried at once, in vain, as the network comes back", async () => {
    const page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    const { client, sockets, socket, fetch } = await blocked();
    fetch.mockImplementation(async () =>
      Response.json(
        { taskId: TASK, rev: rev(3), done: false, stages: [], messages: [progress(3, 30)] },
        { headers: { "Retry-After": "30" } },
      ),
    );
    await vi.advanceTimersByTimeAsync(1_000);
    const polls = fetch.mock.calls.length;
    page.dispatchEvent(new Event("online"));
    await settle();
    expect(fetch).toHaveBeenCalledTimes(polls + 1);
    expect(sockets).toHaveLength(7);
    socket().drop();
    expect(client.connection).toBe("polling");
  });

  test("ends with the task", async () => {
    const { client, sockets, fetch } = await blocked();
    fetch.mockImplementation(async () =>
      Response.json({ taskId: TASK, rev: rev(3), done: true, stages: [], messages: [complete(3)] }),
    );
    await vi.advanceTimersByTimeAsync(20_000);
    expect(client.getState(TASK)!.status).toBe("complete");
    expect(client.connection).toBe("idle");
    const polls = fetch.mock.calls.length;
    await vi.advanceTimersByTimeAsync(200_000);
    expect(fetch).toHaveBeenCalledTimes(polls);
    expect(sockets).toHaveLength(6);
    await settle();
  });
});
