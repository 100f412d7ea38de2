// Packs the package, installs it in a fresh project, imports it there as ES modules, and compiles
// against its types as bundlers (`bundler`), Node (`node16`) and TypeScript's older default (`node10`)
// resolve them.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const run = (command, args, cwd) => execFileSync(command, args, { cwd, encoding: "utf8" });
const project = mkdtempSync(join(tmpdir(), "progressd-package-"));
try {
    const [{ filename, files }] = JSON.parse(
        run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", project]),
    );
    const strays = files.filter(({ path }) => !/^(dist\/|package\.json$|README\.md$)/.test(path));
    if (strays.length > 0) {
        throw new Error(`in the package, but not of it: ${strays.map(({ path }) => path)}`);
    }

    writeFileSync(
        join(project, "package.json"),
        '{ "name": "fresh", "private": true, "type": "module" }',
    );
    run(
        "npm",
        ["install", "--offline", "--no-audit", "--legacy-peer-deps", join(project, filename)],
        project,
    );
    // The peers are those of this package's own tests.
    const peers = ["react", "@types/react", "csstype", "zustand"];
    for (const name of [...peers, "@tanstack/react-query", "@tanstack/query-core"]) {
        const link = join(project, "node_modules", name);
        mkdirSync(dirname(link), { recursive: true });
        symlinkSync(resolve("node_modules", name), link);
    }

    const entry = (name) =>
        readFileSync(join(project, "node_modules/@progressd/client/dist", name), "utf8");
    if (!entry("react/index.js").startsWith('"use client";')) {
        throw new Error("the React entry doesn't say that it is for the client");
    }
    const shared = files
        .map(({ path }) => path)
        .filter((path) => /dist\/shared-.*\.js$/.test(path));
    if (shared.length !== 1 || /[.?]_\w{2}/.test(entry(shared[0].slice("dist/".length)))) {
        throw new Error(`not one module with short names for all entries: ${shared}`);
    }

    writeFileSync(
        join(project, "import.js"),
        `import { ProgressClient } from "@progressd/client";
     import { TaskProgress, useTaskProgress } from "@progressd/client/react";
     import { createProgressStore } from "@progressd/client/zustand";
     import { taskProgressQuery } from "@progressd/client/react-query";
     const client = new ProgressClient({ url: "http://localhost", token: () => "" });
     const store = createProgressStore(client);
     const query = taskProgressQuery(client, "42");
     if (client.connection !== "idle" || store.getState().connection !== "idle") process.exit(1);
     if (query.queryKey[1] !== "42" || !TaskProgress || !useTaskProgress) process.exit(1);
     import.meta.resolve("@progressd/client/style.css");`,
    );
    run("node", ["import.js"], project);

    writeFileSync(
        join(project, "types.tsx"),
        `import { ProgressClient, type TaskState } from "@progressd/client";
     import { ProgressProvider, TaskProgress, useTaskProgress } from "@progressd/client/react";
     import { createProgressStore } from "@progressd/client/zustand";
     import { taskProgressQuery } from "@progressd/client/react-query";
     const client = new ProgressClient({ token: async () => "token" });
     client.addEventListener("ProgressUpdated", ({ detail }) => {
       const percentage: number = detail.payload.percentage;
       // @ts-expect-error: it is a number
       const wrong: string = detail.payload.percentage;
       return [percentage, wrong];
     });
     // @ts-expect-error: there is no such event
     client.addEventListener("Nonsense", () => {});
     declare module "@progressd/client" {
       interface CustomProgress { readonly speaker?: string; }
     }
     client.addEventListener("ProgressUpdated", ({ detail }) => {
       const speakers: (string | undefined)[] = [
         detail.payload.speaker,
         detail.state.progress?.speaker,
       ];
       // @ts-expect-error: nobody declared that
       return [speakers, detail.payload.listener];
     });
     const Speaker = () => useTaskProgress("42", { select: (task) => task.progress?.speaker });
     const speaker: string | undefined = Speaker();
     const state: TaskState | undefined = createProgressStore(client).getState().tasks["42"];
     const key: readonly ["progressd", string] = taskProgressQuery(client, "42").queryKey;
     export const App = () => (
       <ProgressProvider client={client} texts={{ stale: String(key) + state?.status + speaker }}>
         <TaskProgress taskId="42" title="A talk" />
       </ProgressProvider>
     );`,
    );
    for (const [module, moduleResolution] of [
        ["ESNext", "bundler"],
        ["Node16", "node16"],
        ["ESNext", "node10"],
    ]) {
        const options = ["--strict", "--noEmit", "--target", "ES2022", "--jsx", "react-jsx"];
        const how = ["--module", module, "--moduleResolution", moduleResolution];
        run(resolve("node_modules/.bin/tsc"), [...options, ...how, "types.tsx"], project);
        console.log(`package: types are right under ${moduleResolution}`);
    }
    console.log(`package: ${filename}, ${files.length} files, imports as ES modules`);
} catch (error) {
    console.error(error.message, error.stdout ?? "");
    process.exitCode = 1;
} finally {
    rmSync(project, { recursive: true, force: true });
}
