/** The broker's addresses, from the one that the user gave. Its query stays: a proxy may want it. */

/** Where to connect. Throws a TypeError if the address is no URL. */
export function webSocketUrl(base: string | URL): string {
  return address(base, "ws", "ws/progress");
}

/** Where to ask for the state of a task. Throws as `webSocketUrl` does. */
export function stateUrl(base: string | URL, taskId: string): string {
  return address(base, "http", "api/progress/" + encodeURIComponent(taskId));
}

function address(base: string | URL, scheme: "ws" | "http", path: string): string {
  const page = (globalThis.location as Location | undefined)?.href;
  const url = new URL(String(base) || "/", page);
  url.pathname = url.pathname.replace(/\/*$/, "/") + path;
  url.hash = ""; // WebSocket takes none
  url.protocol = url.protocol.replace(/ws|http/, scheme);
  return url.href;
}
