import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const source = (path: string) => fileURLToPath(new URL(`../src/${path}`, import.meta.url));

/** The page, from the package's sources, to be served from any folder. */
export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  resolve: {
    alias: [
      { find: "@progressd/client/react", replacement: source("react/index.ts") },
      { find: "@progressd/client/style.css", replacement: source("style.css") },
      { find: "@progressd/client", replacement: source("index.ts") },
    ],
  },
  build: {
    target: "es2022",
    modulePreload: { polyfill: false },
    rollupOptions: {
      // "use client" is for servers' builds, and this is none.
      onwarn: ({ message, code }, warn) =>
        code === "SOURCEMAP_ERROR" || message.includes('"use client"') || warn(message),
    },
  },
  logLevel: "warn",
});
