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
import {
  TASK,
  complete,
  estimate,
  failure,
  progress,
  refused,
  setUp,
  stageChange,
  subscribed,
} from "../support/fake-server.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Shows components below a provider, over an open connection. */
async function show(children: ReactNode) {
  const world = setUp();
  const view = render(<ProgressProvider client={world.client}>{children}</ProgressProvider>);
  await act(() => world.socket().open());
  const tell = (...messages: object[]) =>
    act(() => messages.forEach((message) => world.socket().tell(message)));
  const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));
  tell(subscribed(null));
  return { ...world, view, tell, pass };
}

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
    expect(bar().getAttribute("aria-label")).toBe("Progress");
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

  test("links to the result", async () => {
    const { tell } = await show(<TaskProgress taskId={TASK} />);
    tell(complete(1));
    expect(screen.getByRole("link").getAttribute("href")).toBe("https://example.com/42.txt");
  });

  test("doesn't link to what is no address of the web", async () => {
    const { tell } = await show(<TaskProgress taskId={TASK} />);
    const message = complete(1);
    tell({ ...message, payload: { ...message.payload, resultUrl: "javascript:alert(1)" } });
    expect(screen.queryByRole("link")).toBeNull();
    expect(card().getAttribute("data-status")).toBe("complete");
  });

  test("says when it may be out of date", async () => {
    const { tell, socket } = await show(<TaskProgress taskId={TASK} />);
    tell(progress(1, 10));
    expect(card().textContent).not.toContain("out of date");
    act(() => socket().drop());
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
    await pass(4_999);
    expect(said()).toBe("Now: Download");
    await pass(1);
    expect(said()).toBe("Now: Decode");
    await pass(10_000);
    tell(progress(5, 49, "decode"));
    expect(said()).toBe("Now: Decode");
    tell(progress(6, 51, "decode"));
    expect(said()).toBe("50% done");
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
    act(() => socket().drop());
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

  test("says other words when told to", async () => {
    const { client } = setUp();
    render(
      <ProgressProvider client={client} texts={{ progress: "Fortschritt" }}>
        <TaskProgress taskId={TASK} />
      </ProgressProvider>,
    );
    expect(bar().getAttribute("aria-label")).toBe("Fortschritt");
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
