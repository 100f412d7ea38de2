// Measures in Chromium what a page of many tasks costs: frames a second, the share of the main
// thread, and the longest time between two frames.
//
//   npm run bench                 200 tasks, 5 updates a second each
//   npm run bench -- TASKS PER_SECOND SECONDS
import { readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const [tasks = 200, perSecond = 5, seconds = 10] = process.argv.slice(2).map(Number);
const WARM_UP_MS = 3_000;
const folder = fileURLToPath(new URL("dist", import.meta.url));
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-background-networking"],
});
try {
    console.log(`${tasks} tasks, ${perSecond} updates a second each, over ${seconds} s`);
    for (const name of ["plain", "cards"]) {
        const { frames, busy, longest } = await measure(name);
        const figures = [`${frames.toFixed(1)} fps`, `${(busy * 100).toFixed(0)} % busy`];
        console.log(`${name}: ${figures.join(", ")}, longest frame ${longest.toFixed(0)} ms`);
    }
} finally {
    await browser.close();
}

async function measure(name) {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(error));
    await page.route("http://bench.example/**", (route) => {
        const { pathname } = new URL(route.request().url());
        const file = join(folder, pathname === "/" ? "index.html" : pathname);
        return route.fulfill({ body: readFileSync(file), contentType: types[extname(file)] });
    });
    await page.goto(`http://bench.example/?page=${name}&tasks=${tasks}&perSecond=${perSecond}`);
    await page.waitForTimeout(WARM_UP_MS);
    const tools = await page.context().newCDPSession(page);
    await tools.send("Performance.enable", { timeDomain: "threadTicks" });
    const busyTime = async () => {
        const { metrics } = await tools.send("Performance.getMetrics");
        return metrics.find(({ name }) => name === "TaskDuration").value;
    };
    const before = await busyTime();
    const { times, elapsed } = await page.evaluate(
        (ms) =>
            new Promise((resolve) => {
                const times = [];
                const start = performance.now();
                requestAnimationFrame(function frame(now) {
                    times.push(now);
                    const elapsed = performance.now() - start;
                    if (elapsed < ms) {
                        requestAnimationFrame(frame);
                    } else {
                        resolve({ times, elapsed });
                    }
                });
            }),
        seconds * 1000,
    );
    const busy = ((await busyTime()) - before) / (elapsed / 1000);
    await page.close();
    const gaps = times.slice(1).map((time, index) => time - times[index]);
    const frames = gaps.length / ((times.at(-1) - times[0]) / 1000);
    return { frames, busy, longest: Math.max(...gaps) };
}
