import { chromium } from "playwright-core";
import type { Browser } from "playwright-core";
import { eventually } from "./deadline.js";
import { Process } from "./process.js";

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** It must not call home, and needs no rights to make a sandbox. */
export const FLAGS: string[] = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
  "--disable-default-apps",
];

/**
 * Chromium as people have it, where a tab behind another is hidden: one that Playwright starts
 * takes every tab for the one in front.
 *
 * @param profile a folder that isn't there yet
 */
export async function withPlainChromium(
  profile: string,
  use: (browser: Browser) => Promise<void>,
): Promise<void> {
  const options = ["--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"];
  const program = new Process(CHROMIUM, [...FLAGS, ...options]);
  try {
    const address = await eventually(
      "Chromium is there",
      () => /listening on (ws:\S+)/.exec(program.log)?.[1],
    );
    const browser = await chromium.connectOverCDP(address, { noDefaults: true });
    await use(browser);
    await browser.close();
  } finally {
    await program.end();
  }
}
