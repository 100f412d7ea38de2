// Fails when the core, bundled and minified as an application would, is larger than it may be.
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LIMIT = 8650; // bytes, gzipped

const { outputFiles } = await build({
    stdin: { contents: 'export * from "./dist/index.js";', resolveDir: "." },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
});
const size = gzipSync(outputFiles[0].contents, { level: 9 }).length;
console.log(`core: ${size} bytes gzipped, of ${LIMIT}`);
process.exitCode = size <= LIMIT ? 0 : 1;

// What isn't used must not stay in an application's bundle.
const unused = await build({
    stdin: {
        contents: 'import "./dist/index.js"; import "./dist/react/index.js";',
        resolveDir: ".",
    },
    bundle: true,
    minify: true,
    format: "esm",
    external: ["react", "react/jsx-runtime"],
    write: false,
    logLevel: "error",
});
const rest = unused.outputFiles[0].text.trim();
if (rest !== "") {
    console.error(`an import for nothing leaves behind: ${rest.slice(0, 200)}`);
    process.exitCode = 1;
}
