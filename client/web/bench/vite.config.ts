import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import demo from "../demo/vite.config.js";

/** The page that is measured, from the package's sources, as the demo's is. */
export default defineConfig({
  ...demo,
  root: fileURLToPath(new URL(".", import.meta.url)),
});
