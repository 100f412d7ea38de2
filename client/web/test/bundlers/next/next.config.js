import { fileURLToPath } from "node:url";

/** Files that any server can give out; Turbopack and its Lightning CSS build them. */
export default {
    output: "export",
    turbopack: { root: fileURLToPath(new URL("..", import.meta.url)) },
};
