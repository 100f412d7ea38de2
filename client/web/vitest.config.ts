import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";

const react18 = (path: string) =>
  fileURLToPath(new URL(`./test/react-18/node_modules/${path}`, import.meta.url));

/** The tests of the components run with both versions of React. */
const components = {
  include: ["test/react/**/*.test.tsx"],
  environment: "happy-dom",
  setupFiles: ["test/support/react.ts"],
};

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "core",
          include: ["test/**/*.test.ts"],
          exclude: [...configDefaults.exclude, "test/browser/**"],
          environment: "node",
        },
      },
      { test: { ...components, name: "react 19" } },
      {
        resolve: {
          mainFields: ["module"], // CommonJS would require the other React
          alias: [
            { find: /^react(\/.*)?$/, replacement: react18("react$1") },
            { find: /^react-dom(\/.*)?$/, replacement: react18("react-dom$1") },
          ],
        },
        test: {
          ...components,
          name: "react 18",
          server: { deps: { inline: [/@testing-library/, /zustand/, /@tanstack/] } },
        },
      },
    ],
  },
});
