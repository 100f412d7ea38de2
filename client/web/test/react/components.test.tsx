import { act, render, screen } from "@testing-library/react";
import { StrictMode } from "react";
import type { ReactNode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  ConnectionStatus,
  ProgressProvider,
  StageIndicator,
  TaskProgress,
  TimeEstimate,
  useTaskProgress,
} from "../../src/react/index.js";
import type { SomeProgressTexts } from "../../src/react/index.js";
import {
  TASK,
  complete,
  estimate,
  failure,
  progress,
  refused,
  rev,
  setUp,
  stageChange,
  subscribed,
} from "../support/fake-server.js";
import type { FakeSocket } from "../support/fake-server.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Shows components below a provider, over an open connection, of a task without state. */
async function show(children: ReactNode, texts?: SomeProgressTexts) {
  const world = await showUnanswered(children, texts);
  world.tell(subscribed(null));
  return world;
}

/** Shows components below a provider, over an open connection. */
async function showUnanswered(children: ReactNode, texts: SomeProgressTexts = {}) {
  const world = setUp();
  const view = render(
    <ProgressProvider client={world.client} texts={texts}>
      {children}
    </ProgressProvider>,
  );
  await act(() => world.socket().open());
  /** Lets the server tell something, and the page show it. */
  const tell = (...messages: object[]) =>
    act(() => {
      messages.forEach((message) => world.socket().tell(message));
      vi.advanceTimersToNextFrame();
    });
  const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));
  return { ...world, view, tell, pass };
}

/** The connection is lost, and the page shows it. */
const drop = (socket: FakeSocket) =>
  act(() => {
    socket.drop();
    vi.advanceTimersToNextFrame();
  });

const bar = () => screen.getByRole("progressbar");
const card = () => document.querySelector(".progressd-task")!;

describe("TaskProgress", () => {
  test("is a progressbar with its values", async () => {
    const { tell } = await show(<TaskProgress taskId={TASK} title="A talk" />);
    expect(bar().getAttribute("aria-valuenow")).toBeNull();
    expect(bar().getAttribute("aria-valuetext")).toBe("Not started yet");
    tell(progress(1, 41.7, "speech_to_text"));
    expect(bar().getAttribute("aria-valuemin")).toBe("0");
    expect(bar().getAttribute("aria-valuemax")).toBe("100");
    expect(bar().getAttribute("aria-valuenow")).toBe("41");
    expect(bar().getAttribute("aria-valuetext")).toBe("41%, Speech to text");
    expect(screen.getByRole("progressbar", { name: "Progress A talk" })).toBe(bar());
    expect(screen.getByRole("region", { name: "A talk" })).toBe(card());
  });

  test("never runs backwards within a run", async () => {
    const { tell } = await show(<TaskProgress taskId={TASK} />);
    tell(progress(1, 60), progress(2, 55));
    expect(bar().getAttribute("aria-valuenow")).toBe("60");
    tell(progress(3, 5, "download", "run2"));
    expect(bar().getAttribute("aria-valuenow")).toBe("5");
  });

  test.each([
    ["waiting", [], "Not started yet"],
    ["running", [progress(1, 10)], "Transcribing"],
    ["complete", [complete(1)], "Complete"],
    ["failed", [failure(1)], "broken"],
    ["lost", [failure(1, "JOB_LOST", true)], "No sign of life"],
    ["interrupted", [failure(1, "WORKER", true)], "it may go on"],
    ["refused", [refused("FORBIDDEN", false)], "FORBIDDEN"],
  ])("has a face for a task that is %s", async (status, messages, words) => {
    const { tell } = await show(<TaskProgress taskId={TASK} />);
    tell(...messages);
    expect(card().getAttribute("data-status")).toBe(status);
    expect(card().textContent).toContain(words);
  });

  test("links to the result, under a name that tells it from others", async () => {
    const { tell } = await show(<TaskProgress taskId={TASK} title="A talk" />);
    tell(complete(1));
    const link = screen.getByRole("link", { name: "Open the result A talk" });
    expect(link.getAttribute("href")).toBe("https://example.com/42.txt");
  });

  test("says in words why it can't be shown, and tries again when told to", async () => {
    const { tell, socket } = await show(<TaskProgress taskId={TASK} title="A talk" />);
    tell(refused("FORBIDDEN", false));
    expect(card().textContent).toContain("You may not see the progress of this task.");
    expect(card().textContent).not.toContain("Live");
    const button = screen.getByRole("button", { name: "Try again A talk" });
    act(() => button.click());
    await act(() => socket().open());
    tell(subscribed(rev(1)), progress(1, 10));
    expect(card().getAttribute("data-status")).toBe("running");
    expect(screen.queryByRole("button")).toBeNull();
  });

  test("has words for a refusal that it knows nothing of", async () => {
    const { tell } = await show(<TaskProgress taskId={TASK} />);
    tell(refused("constructor", false));
    expect(card().textContent).toContain("The server doesn’t show this task. constructor");
  });

  test("shows what it showed when it comes back, until it knows better", async () => {
    const { client, tell, view, pass } = await show(<TaskProgress taskId={TASK} />);
    const page = (card: ReactNode) => (
      <ProgressProvider client={client}>
        <TaskProgress taskId="other" />
        {card}
      </ProgressProvider>
    );
    tell(progress(1, 60));
    view.rerender(page(null));
    await pass(5_000);
    expect(client.getState(TASK)).toBeUndefined();
    view.rerender(page(<TaskProgress taskId={TASK} />));
    const [, again] = document.querySelectorAll(".progressd-task");
    expect(again!.querySelector("[aria-valuenow='60']")).not.toBeNull();
    expect(again!.textContent).toContain("May be out of date");
    await pass(0);
    tell(subscribed(rev(2)), progress(2, 70));
    expect(again!.querySelector("[aria-valuenow='70']")).not.toBeNull();
    expect(again!.textContent).not.toContain("May be out of date");
  });

  test("doesn't link to what is no address of the web", async () => {
    const { tell } = await show(<TaskProgress taskId={TASK} />);
    const message = complete(1);
    tell({ ...message, payload: { ...message.payload, resultUrl: "javascript:alert(1)" } });
    expect(screen.queryByRole("link")).toBeNull();
    expect(card().getAttribute("data-status")).toBe("complete");
  });

  test("says when the job last told anything, once that is a while ago", async () => {
    const { client, pass, socket } = await showUnanswered(<TaskProgress taskId={TASK} />);
    const minutesAgo = (minutes: number) => (Date.now() - minutes * 60_000) * 1000;
    act(() => {
      const n = minutesAgo(3);
      socket().tell(subscribed(rev(n + 1)));
      socket().tell(progress(n, 10));
      socket().tell({ ...estimate(n + 1, 240), rev: rev(n + 1) });
      vi.advanceTimersToNextFrame();
    });
    expect(card().textContent).toContain("Last update 3 min ago");
    // The estimate is as old.
    expect(card().textContent).toContain("About 1 min left");
    client.disconnect(); // or the connection would be given up without pongs
    await pass(60_000);
    expect(card().textContent).toContain("Last update 4 min ago");
    await pass(10_000);
    expect(card().textContent).toContain("Takes longer than expected");
    client.connect();
    await act(() => socket().open());
    act(() => {
      const n = Date.now() * 1000;
      socket().tell(subscribed(rev(n)));
      socket().tell(progress(n, 20));
      vi.advanceTimersToNextFrame();
    });
    expect(card().textContent).not.toContain("Last update");
  });

  test("says when it may be out of date", async () => {
    const { tell, socket } = await show(<TaskProgress taskId={TASK} />);
    tell(progress(1, 10));
    expect(card().textContent).not.toContain("out of date");
    drop(socket());
    expect(card().textContent).toContain("May be out of date");
    expect(card().textContent).toContain("10%");
  });

  test("never throws, whatever the server sends, and whatever the task is called", async () => {
    const { socket } = await show(
      <>
        <TaskProgress taskId={TASK} />
        <TaskProgress taskId="" />
      </>,
    );
    for (const text of ["{", "<html>", "null", '{"type":"error"}', '{"type":"subscribed"}']) {
      act(() => socket().tellText(text));
    }
    expect(screen.getAllByRole("progressbar")).toHaveLength(2);
  });

  test("renders on a server, where there is nothing to watch with", () => {
    const html = renderToString(
      <ProgressProvider token={() => ""}>
        <TaskProgress taskId={TASK} />
      </ProgressProvider>,
    );
    expect(html).toContain("Connecting");
  });
});

describe("announcements", () => {
  const said = () => screen.getByRole("status").textContent;

  test("are polite, of stages and quarter marks, at most every 10 s", async () => {
    const { tell, pass } = await show(<TaskProgress taskId={TASK} />);
    expect(screen.getByRole("status").getAttribute("aria-live")).toBe("polite");
    expect(said()).toBe("");
    tell(progress(1, 1, "download"));
    expect(said()).toBe("Now: Download");
    tell(progress(2, 20, "download"));
    await pass(5_000);
    tell(progress(3, 26, "download"));
    tell(stageChange(4, "download", "decode"));
    await pass(4_900);
    expect(said()).toBe("Now: Download");
    await pass(100);
    expect(said()).toBe("Now: Decode");
    await pass(10_000);
    tell(progress(5, 49, "decode"));
    expect(said()).toBe("Now: Decode");
    tell(progress(6, 51, "decode"));
    expect(said()).toBe("50% done");
  });

  test("say nothing of what was there when the page came", async () => {
    const { socket, pass } = await showUnanswered(<TaskProgress taskId={TASK} />);
    act(() => {
      const stages = ["download", "decode"].map((stage) => ({ stage, timestamp: "" }));
      socket().tell(subscribed(rev(9), TASK, stages));
      vi.advanceTimersToNextFrame();
    });
    act(() => {
      socket().tell(stageChange(7, "download", "decode"));
      socket().tell(progress(8, 80, "decode"));
      socket().tell(estimate(9, 60));
      vi.advanceTimersToNextFrame();
    });
    await pass(20_000);
    expect(bar().getAttribute("aria-valuenow")).toBe("80");
    expect(said()).toBe("");
  });

  test("tell of the end at once", async () => {
    const { tell } = await show(<TaskProgress taskId={TASK} />);
    tell(progress(1, 30, "download"));
    tell(complete(2));
    expect(said()).toBe("Complete");
  });
});

describe("StageIndicator", () => {
  test("shows the stages so far and marks the one that it is in", async () => {
    const { tell } = await show(<StageIndicator taskId={TASK} />);
    expect(screen.queryByRole("list")).toBeNull();
    tell(stageChange(1, null, "download"), stageChange(2, "download", "speech_to_text"));
    const stages = screen.getAllByRole("listitem");
    expect(stages.map(({ textContent }) => textContent)).toEqual(["Download", "Speech to text"]);
    expect(stages.map((stage) => stage.getAttribute("aria-current"))).toEqual([null, "step"]);
    tell(complete(3));
    expect(document.querySelector("[aria-current]")).toBeNull();
  });
});

describe("TimeEstimate", () => {
  test("counts down, doesn't jump about, and goes with the estimate", async () => {
    const { tell, pass, view } = await show(<TimeEstimate taskId={TASK} />);
    const shown = () => view.container.textContent;
    expect(shown()).toBe("");
    tell(estimate(1, 120, 0.5));
    expect(shown()).toBe("About 2 min left");
    tell(estimate(2, 150, 0.5)); // a little more: not worth a change
    expect(shown()).toBe("About 2 min left");
    // 80 s, in which the connection stays: each ping is answered.
    for (const ms of [35_000, 35_000, 10_000]) {
      await pass(ms);
      tell({ type: "pong", timestamp: 0 });
    }
    expect(shown()).toBe("About 55 s left");
    tell(complete(3));
    expect(shown()).toBe("");
  });

  test("says that it takes longer, when it does", async () => {
    const { tell, pass, view } = await show(<TimeEstimate taskId={TASK} />);
    tell(estimate(1, 10));
    await pass(14_000);
    expect(view.container.textContent).toBe("About 5 s left");
    await pass(3_000);
    expect(view.container.textContent).toBe("Takes longer than expected");
    tell(estimate(2, 20));
    expect(view.container.textContent).toBe("About 20 s left");
  });
});

describe("ConnectionStatus", () => {
  test("tells how the client stands with the server, and nothing when all has ended", async () => {
    const { tell, socket } = await show(
      <>
        <ConnectionStatus />
        <StageIndicator taskId={TASK} />
      </>,
    );
    const status = () => document.querySelector(".progressd-connection");
    expect(status()!.getAttribute("data-connection")).toBe("live");
    drop(socket());
    expect(status()!.textContent).toBe("Connecting…");
    await act(() => vi.advanceTimersByTimeAsync(1_000));
    await act(() => socket().open());
    tell(complete(1));
    expect(status()).toBeNull();
  });
});

describe("ProgressProvider and useTaskProgress", () => {
  test("a strict page takes one connection and one subscription", async () => {
    const { client, sockets, socket } = setUp();
    render(
      <StrictMode>
        <ProgressProvider client={client}>
          <TaskProgress taskId={TASK} />
          <TaskProgress taskId={TASK} />
        </ProgressProvider>
      </StrictMode>,
    );
    await act(() => socket().open());
    expect(sockets).toHaveLength(1);
    expect(socket().heard("subscribe")).toHaveLength(1);
  });

  test("unsubscribes when the component goes", async () => {
    const { client, view, pass } = await show(<TaskProgress taskId={TASK} />);
    view.unmount();
    await pass(1_000);
    expect(client.connection).toBe("idle");
  });

  test("makes a client from address and token, and disconnects it at the end", async () => {
    const sockets: { url: string; closed: boolean }[] = [];
    vi.stubGlobal(
      "WebSocket",
      class {
        closed = false;
        constructor(readonly url: string) {
          sockets.push(this);
        }
        close() {
          this.closed = true;
        }
      },
    );
    const view = render(
      <ProgressProvider url="https://broker.example" token={() => "token"}>
        <TaskProgress taskId={TASK} />
      </ProgressProvider>,
    );
    expect(sockets.map(({ url }) => url)).toEqual(["wss://broker.example/ws/progress"]);
    view.unmount();
    expect(sockets[0]!.closed).toBe(true);
    vi.unstubAllGlobals();
  });

  test("says other words when told to, and the usual ones for the rest", async () => {
    const texts = { progress: "Fortschritt", status: { waiting: "Noch nicht begonnen" } };
    const { tell } = await show(<TaskProgress taskId={TASK} />, texts);
    expect(bar().getAttribute("aria-label")).toBe("Fortschritt");
    expect(card().textContent).toContain("Noch nicht begonnen");
    tell(complete(1));
    expect(card().textContent).toContain("Complete");
  });

  test("renders once a frame, whatever comes, and only what has changed", async () => {
    const rendered: string[] = [];
    const Percentage = ({ taskId }: { taskId: string }) => {
      rendered.push(taskId);
      return useTaskProgress(taskId).percentage;
    };
    const { tell } = await show(
      <>
        <Percentage taskId={TASK} />
        <Percentage taskId="other" />
      </>,
    );
    tell(subscribed(null, "other"));
    rendered.length = 0;
    tell(progress(1, 10), progress(2, 20), progress(3, 30));
    expect(rendered).toEqual([TASK]);
    tell(progress(4, 40), { ...progress(1, 1), taskId: "other" });
    expect(rendered.slice(1).sort()).toEqual([TASK, "other"].sort());
  });

  test("the hook renders only for what is selected", async () => {
    let renderings = 0;
    const Stages = () => {
      renderings++;
      // Another function and another object each time, and the same content.
      const { count } = useTaskProgress(TASK, {
        select: ({ stages }) => ({ count: stages.length }),
      });
      return count;
    };
    const { tell, view } = await show(<Stages />);
    const before = renderings;
    tell(progress(1, 10));
    expect(view.container.textContent).toBe("1");
    expect(renderings).toBe(before + 1);
    tell(progress(2, 20));
    tell(progress(3, 30));
    expect(renderings).toBe(before + 1);
  });

  test("the hook watches nothing without a task id, or when it isn't to", async () => {
    const seen: unknown[] = [];
    const Watch = (props: { taskId?: string; enabled?: boolean }) => {
      const { taskId, enabled = true } = props;
      const { status, percentage } = useTaskProgress(taskId, { enabled });
      seen.push(status);
      return percentage;
    };
    const { client, sockets, socket } = setUp();
    const page = (props: { taskId?: string; enabled?: boolean }) => (
      <ProgressProvider client={client}>
        <Watch {...props} />
      </ProgressProvider>
    );
    const view = render(page({}));
    view.rerender(page({ taskId: TASK, enabled: false }));
    expect(sockets).toHaveLength(0);
    expect(new Set(seen)).toEqual(new Set(["connecting"]));
    view.rerender(page({ taskId: TASK }));
    await act(() => socket().open());
    expect(socket().heard("subscribe")).toHaveLength(1);
  });

  test("the hook tells once of a result and of each failure, also on a strict page", async () => {
    const outcomes = { onComplete: vi.fn(), onError: vi.fn() };
    const Watch = () => useTaskProgress(TASK, outcomes).status;
    const { tell } = await show(
      <StrictMode>
        <Watch />
      </StrictMode>,
    );
    tell(failure(1, "WORKER", true));
    tell(progress(2, 10));
    tell(complete(3));
    expect(outcomes.onError.mock.calls).toMatchObject([[{ code: "WORKER" }, { taskId: TASK }]]);
    expect(outcomes.onComplete.mock.calls).toMatchObject([[{ duration: 31.4 }, { taskId: TASK }]]);
  });

  test("the hook follows when it is given another task", async () => {
    const Percentage = ({ taskId }: { taskId: string }) => {
      const { percentage, connection } = useTaskProgress(taskId);
      return `${percentage} ${connection}`;
    };
    const { client, tell, view } = await show(<Percentage taskId={TASK} />);
    tell(progress(1, 10));
    expect(view.container.textContent).toBe("10 live");
    view.rerender(
      <ProgressProvider client={client}>
        <Percentage taskId="other" />
      </ProgressProvider>,
    );
    expect(view.container.textContent).toBe("null live");
  });
});
