/**
 * The page that is measured: cards of many tasks, all of which go on at once. Its address says how:
 * `?page=cards` (the package's) or `?page=plain` (bars without any package, to compare with),
 * `tasks` and `perSecond`, the updates of each task.
 */
import { createRoot } from "react-dom/client";
import { ProgressClient } from "@progressd/client";
import { ProgressProvider, TaskProgress } from "@progressd/client/react";
import "@progressd/client/style.css";
import { Source } from "./source.js";

const options = new URLSearchParams(location.search);
const perSecond = Number(options.get("perSecond"));
const taskIds = Array.from({ length: Number(options.get("tasks")) }, (_, index) => `task-${index}`);
const page = document.getElementById("page")!;
page.style.cssText = "display: grid; grid-template-columns: repeat(4, 1fr); gap: 0.5em";

if (options.get("page") === "plain") {
  showPlainBars();
} else {
  const client = new ProgressClient({
    token: () => "a token",
    WebSocket: class extends Source {
      constructor() {
        super(perSecond);
      }
    },
  });
  createRoot(page).render(
    <ProgressProvider client={client}>
      {taskIds.map((taskId) => (
        <TaskProgress key={taskId} taskId={taskId} />
      ))}
    </ProgressProvider>,
  );
}

/** What anybody would write in ten lines: a bar and a number a task, set as messages come. */
function showPlainBars(): void {
  const bars = new Map<string, { fill: HTMLElement; text: HTMLElement }>();
  for (const taskId of taskIds) {
    const card = page.appendChild(document.createElement("div"));
    card.innerHTML = `<p>${taskId} <span></span></p><div style="background: #ddd">
      <div style="block-size: 8px; background: #06c; transition: width 0.4s"></div></div>`;
    const [fill, text] = [card.querySelector("div div"), card.querySelector("span")];
    bars.set(taskId, { fill: fill as HTMLElement, text: text as HTMLElement });
  }
  const source = new Source(perSecond);
  source.onmessage = ({ data }) => {
    const { type, taskId, payload } = JSON.parse(data);
    if (type === "progress_update") {
      const { fill, text } = bars.get(taskId)!;
      fill.style.width = text.textContent = `${Math.floor(payload.percentage)}%`;
    }
  };
  source.onopen = () =>
    taskIds.forEach((taskId) => source.send(JSON.stringify({ type: "subscribe", taskId })));
}
