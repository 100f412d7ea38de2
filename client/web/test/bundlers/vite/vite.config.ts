import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// What `npm create vite -- --template react-ts` writes.
export default defineConfig({
  plugins: [react()],
});
