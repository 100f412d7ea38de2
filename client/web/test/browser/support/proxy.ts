import { createServer, connect } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { once } from "node:events";

/** What becomes of requests for WebSocket: they pass, are refused, or get no answer. */
export type Upgrades = "pass" | "refuse" | "ignore";

/** A proxy in front of the broker that may not let WebSocket through. */
export class Proxy {
  upgrades: Upgrades = "pass";
  /** The requests for WebSocket that didn't pass. */
  stopped = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  constructor(private readonly targetPort: number) {
    this.#server = createServer((client) => this.#serve(client));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async start(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  async end(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** Cuts all connections. */
  cut(): void {
    this.#sockets.forEach((socket) => socket.destroy());
  }

  #serve(client: Socket): void {
    this.#keep(client);
    // A browser asks for WebSocket on a connection of its own, in one segment.
    client.once("data", (request) => {
      if (this.upgrades !== "pass" && /^upgrade: *websocket/im.test(request.toString("latin1"))) {
        this.stopped++;
        if (this.upgrades === "refuse") {
          client.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        return;
      }
      const broker = connect(this.targetPort, "127.0.0.1");
      this.#keep(broker);
      broker.write(request);
      client.pipe(broker).pipe(client);
      client.once("close", () => broker.destroy());
      broker.once("close", () => client.destroy());
    });
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    socket.on("error", () => socket.destroy());
  }
}
