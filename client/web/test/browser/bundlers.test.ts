import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { beforeAll, expect } from "vitest";
import { Broker } from "./support/broker.js";
import {
  buildWithNext,
  buildWithVite,
  installBundlers,
  readmeCode,
  serveWithVite,
} from "./support/bundlers.js";
import { eventually } from "./support/deadline.js";
import { test } from "./support/installation.js";
import { Process } from "./support/process.js";

const BUILD_WITHIN_MS = 300_000;
const APP = "http://app.example";
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
};

beforeAll(installBundlers, BUILD_WITHIN_MS);

/** Opens an application from its folder, with a server that has the task 42 at 40 %. */
async function open(context: BrowserContext, folder: string): Promise<Page> {
  const page = await context.newPage();
  await page.route(`${APP}/**`, (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname.startsWith("/progress-token/")) {
      return route.fulfill({ body: "a token" });
    }
    const file = join(folder, pathname.endsWith("/") ? `${pathname}index.html` : pathname);
    const contentType = TYPES[extname(file)] ?? "application/octet-stream";
    return route.fulfill({ body: readFileSync(file), contentType });
  });
  await page.routeWebSocket("wss://progress.example.com/**", (socket) => {
    const tell = (type: string, payload: object) =>
      socket.send(JSON.stringify({ type, taskId: "42", rev: "run-1", payload }));
    socket.onMessage((text) => {
      if (JSON.parse(String(text)).type === "subscribe") {
        const timestamp = new Date().toISOString();
        tell("subscribed", { rev: "run-1", stages: [] });
        tell("progress_update", { percentage: 40, stage: "transcribing", timestamp });
      }
    });
  });
  await page.goto(`${APP}/`);
  await page.locator('[role=progressbar][aria-valuenow="40"]').waitFor();
  return page;
}

/** The contrast of what is in an element with the page around it, as it is painted. */
async function contrasts(page: Page): Promise<Record<string, number>> {
  return page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d")!;
    const luminance = (...layers: string[]) => {
      for (const colour of layers) {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
      }
      const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) =>
        value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4,
      );
      return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
    };
    const style = (selector: string) => getComputedStyle(document.querySelector(selector)!);
    const ground = style("html").backgroundColor;
    const contrast = (colour: string) => {
      const values = [luminance(ground), luminance(ground, colour)].sort((a, b) => a - b);
      return (values[1]! + 0.05) / (values[0]! + 0.05);
    };
    return {
      fill: contrast(style(".progressd-fill").backgroundColor),
      track: contrast(style(".progressd-bar").backgroundColor),
      title: contrast(style(".progressd-title").color),
      muted: contrast(style(".progressd-connection").color),
      live: contrast(
        getComputedStyle(document.querySelector(".progressd-connection")!, "::before")
          .backgroundColor,
      ),
    };
  });
}

const PAGES = {
  "color-scheme: light": "html { color-scheme: light; background: Canvas; color: CanvasText }",
  "color-scheme: dark": "html { color-scheme: dark; background: Canvas; color: CanvasText }",
  "a light ground": "html { background: #ffffff; color: #1b1f24 }",
  "a dark ground": "html { background: #181c20; color: #e8ebef }",
};

/** The bar is seen on each kind of page, which the system's preference has no part in. */
async function seesTheBar(page: Page): Promise<void> {
  for (const [name, style] of Object.entries(PAGES)) {
    const tag = await page.addStyleTag({ content: style });
    const seen = [];
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      seen.push(await contrasts(page));
    }
    expect(seen[0], `${name}, under a dark system`).toEqual(seen[1]);
    const { fill, track, title, muted, live } = seen[0]!;
    expect(fill, `${name}: the fill`).toBeGreaterThan(4.5);
    expect(track, `${name}: the track`).toBeGreaterThan(1.15);
    expect(track, `${name}: the track`).toBeLessThan(2);
    expect(title, `${name}: the title`).toBeGreaterThan(12);
    expect(muted, `${name}: muted text`).toBeGreaterThan(4.5);
    expect(live, `${name}: the connection's dot`).toBeGreaterThan(3);
    await tag.evaluate((element: Element) => element.remove());
  }
  const { width } = (await page.locator(".progressd-fill").boundingBox())!;
  const bar = (await page.locator(".progressd-bar").boundingBox())!;
  expect(width / bar.width).toBeCloseTo(0.4, 1);
}

test.for(["js", "python"] as const)(
  "README's lines show a bar in an application for TypeScript, with its tokens from %s",
  { timeout: BUILD_WITHIN_MS },
  async (language, { directory, redis, context, onTestFinished }) => {
    const [pagePort, tokenPort] = [await freePort(), await freePort()];
    const origin = `http://127.0.0.1:${pagePort}`;
    const broker = new Broker(directory, redis.url, ["--allowed-origins", origin]);
    await broker.start();
    onTestFinished(() => broker.stop());

    const folder = join(directory, language);
    mkdirSync(folder);
    copyFileSync(broker.keyFile, join(folder, "progress.key"));
    const program = { js: process.execPath, python: "/usr/bin/python3" }[language];
    const file = { js: "tokens.mjs", python: "tokens.py" }[language];
    const code = readmeCode(language, "progress.key").replace("3000", String(tokenPort));
    writeFileSync(join(folder, file), code);
    const tokens = new Process(program, [file], { cwd: folder });
    onTestFinished(() => tokens.end());

    await buildWithVite({
      "src/main.tsx": readmeCode("tsx", "createRoot").replace("8080", String(broker.port)),
      "vite.config.ts": readmeCode("ts", "proxy").replace("3000", String(tokenPort)),
    });
    const server = serveWithVite(pagePort);
    onTestFinished(() => server.end());
    for (const address of [`${origin}/`, `http://127.0.0.1:${tokenPort}/42`]) {
      await eventually(`an answer from ${address}`, () => fetch(address).catch(() => null));
    }

    await redis.progress("42", 40);
    const page = await context.newPage();
    await page.goto(`${origin}/`);
    await page.locator('[role=progressbar][aria-valuenow="40"]').waitFor();
    await seesTheBar(page);
  },
);

test(
  "components of a server show a bar in an application that Next has built",
  { timeout: BUILD_WITHIN_MS },
  async ({ context }) => {
    await seesTheBar(await open(context, await buildWithNext()));
  },
);

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
