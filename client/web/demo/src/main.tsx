import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ProgressClient } from "@progressd/client";
import { ProgressProvider } from "@progressd/client/react";
import "@progressd/client/style.css";
import { App } from "./app.js";
import { FragmentStore } from "./fragment.js";
import { Journal } from "./journal.js";
import "./page.css";

const fragment = new FragmentStore();
const client = new ProgressClient({
  // The broker that serves the page, also below a path.
  url: new URL(".", location.href),
  token: () => fragment.current.token,
});
const journal = new Journal(client);

createRoot(document.getElementById("page")!).render(
  <StrictMode>
    <ProgressProvider client={client}>
      <App fragment={fragment} journal={journal} />
    </ProgressProvider>
  </StrictMode>,
);
