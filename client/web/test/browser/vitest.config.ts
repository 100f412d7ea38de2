import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** The page in a real browser, with a real broker: `npm run test:browser`. */
export default defineConfig({
  test: {
    root: fileURLToPath(new URL(".", import.meta.url)),
    include: ["*.test.ts"],
    testTimeout: 40_000,
    hookTimeout: 30_000,
    maxWorkers: 2,
  },
});
