import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

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

/** The first piece of code in that language in the package's README. */
export function readmeCode(language: string): string {
  const readme = readFileSync(join(web, "README.md"), "utf8");
  return new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, "ms").exec(readme)![1]!;
}

/** Checks and builds an application for Vite with this as its main file; returns its folder. */
export async function buildWithVite(main: string): Promise<string> {
  const cwd = join(bundlers, "vite");
  mkdirSync(join(cwd, "src"), { recursive: true });
  writeFileSync(join(cwd, "src/main.tsx"), main);
  await runTool("tsc", ["--project", cwd]);
  await runTool("vite", ["build", "--logLevel", "warn", cwd]);
  return join(cwd, "dist");
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
