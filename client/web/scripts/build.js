// Builds the package into dist/: types, the style sheet, and modules. Members whose names begin with
// an underscore are seen by nobody outside the package: they get short names, the same in all of its
// modules. What several entries use lies in one module, so that an application has it once.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { build } from "esbuild";
import { minify } from "terser";

rmSync("dist", { recursive: true, force: true });
execFileSync("npx", ["--no-install", "tsc", "-p", "tsconfig.build.json"], { stdio: "inherit" });
copyFileSync("src/style.css", "dist/style.css");

const { outputFiles } = await build({
    entryPoints: ["src/index.ts", "src/react/index.ts", "src/zustand.ts", "src/react-query.ts"],
    outbase: "src",
    outdir: "dist",
    chunkNames: "shared-[hash]",
    bundle: true,
    splitting: true,
    packages: "external",
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    mangleProps: /^_/,
    minifyIdentifiers: true,
    sourcemap: "linked",
    write: false,
});
const text = (path) => outputFiles.find((file) => file.path === path).text;
for (const { path } of outputFiles.filter((file) => file.path.endsWith(".js"))) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    const { code, map } = await minify(text(path), {
        module: true,
        ecma: 2022,
        compress: {
            passes: 3,
            pure_getters: true,
            unsafe_arrows: true,
            reduce_funcs: false,
            hoist_funs: true,
            directives: false,
        },
        sourceMap: { content: text(`${path}.map`), url: `${name}.map` },
    });
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, code);
    writeFileSync(`${path}.map`, map);
}
