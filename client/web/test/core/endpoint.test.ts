import { afterEach, expect, test, vi } from "vitest";
import { stateUrl, webSocketUrl } from "../../src/core/endpoint.js";

afterEach(() => void vi.unstubAllGlobals());

test.each([
  ["https://a.example", "wss://a.example/ws/progress", "https://a.example/api/progress/42"],
  [
    "http://a.example:8080/",
    "ws://a.example:8080/ws/progress",
    "http://a.example:8080/api/progress/42",
  ],
  [
    "wss://a.example/live",
    "wss://a.example/live/ws/progress",
    "https://a.example/live/api/progress/42",
  ],
  [
    "https://a.example/live/?tenant=7#jobs",
    "wss://a.example/live/ws/progress?tenant=7",
    "https://a.example/live/api/progress/42?tenant=7",
  ],
  ["https://a.example#top", "wss://a.example/ws/progress", "https://a.example/api/progress/42"],
])("%s", (base, webSocket, state) => {
  expect(webSocketUrl(base)).toBe(webSocket);
  expect(stateUrl(new URL(base), "42")).toBe(state);
});

test("is relative to the page", () => {
  vi.stubGlobal("location", { href: "https://page.example/jobs/7?x=1#token" });
  expect(webSocketUrl("/")).toBe("wss://page.example/ws/progress");
  expect(webSocketUrl("")).toBe("wss://page.example/ws/progress");
  expect(stateUrl("/broker/", "a~b:c")).toBe("https://page.example/broker/api/progress/a~b%3Ac");
});
