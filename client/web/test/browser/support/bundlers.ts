import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Process } from "./process.js";

const run = promisify(execFile);
const web = fileURLToPath(new URL("../../../", import.meta.url));
const bundlers = join(web, "test/bundlers");
const QUIET = { NO_COLOR: "1", NEXT_TELEMETRY_DISABLED: "1", CI: "1" };

/** Installs the bundlers from their lock file, and the packed package beside them. */
export async function installBundlers(): Promise<void> {
  const modules = join(bundlers, "node_modules");
  if (!isNewer(join(modules, ".package-lock.json"), join(bundlers, "package-lock.json"))) {
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: bundlers });
  }
  await run("npm", ["run", "build"], { cwd: web });
  const folder = join(modules, "@progressd/client");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const [{ filename }] = JSON.parse((await run("npm", pack, { cwd: web })).stdout);
  await run("tar", ["-xzf", filename, "--strip-components=1"], { cwd: folder });
  rmSync(join(folder, filename));
}

/** The piece of code in that language in the package's README that has these words in it. */
export function readmeCode(language: string, words: string): string {
  const readme = readFileSync(join(web, "README.md"), "utf8");
  const pieces = readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, "gms"));
  const code = [...pieces].map(([, piece]) => piece!).find((piece) => piece.includes(words));
  if (code === undefined) {
    throw new Error(`README has no ${language} with ${words} in it`);
  }
  return code;
}

/** Checks and builds an application for Vite of these files. */
export async function buildWithVite(files: Readonly<Record<string, string>>): Promise<void> {
  const cwd = join(bundlers, "vite");
  mkdirSync(join(cwd, "src"), { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(cwd, name), text);
  }
  await runTool("tsc", ["--project", cwd]);
  await runTool("vite", ["build", "--logLevel", "warn", cwd]);
}

/** Serves what was built with Vite, at this port. */
export function serveWithVite(port: number): Process {
  const program = join(bundlers, "node_modules/vite/bin/vite.js");
  const options = ["preview", "--host", "127.0.0.1", "--port", String(port), "--strictPort"];
  return new Process(process.execPath, [program, ...options, join(bundlers, "vite")]);
}

/** Builds the application for Next; returns its folder. */
export async function buildWithNext(): Promise<string> {
  await runTool("next", ["build", join(bundlers, "next")]);
  return join(bundlers, "next/out");
}

async function runTool(name: string, args: readonly string[]): Promise<void> {
  const program = join(bundlers, "node_modules/.bin", name);
  const env = { ...process.env, ...QUIET, NODE_ENV: "production" };
  await run(program, args, { cwd: bundlers, env }).catch((error) => {
    throw new Error(`${name}:\n${error.stdout}${error.stderr}`);
  });
}

function isNewer(file: string, other: string): boolean {
  return existsSync(file) && statSync(file).mtimeMs >= statSync(other).mtimeMs;
}
