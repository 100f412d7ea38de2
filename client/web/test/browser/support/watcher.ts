import type { BrowserContext, Locator, Page, WebSocket } from "playwright-core";

/** A message that went over a WebSocket. */
export interface Frame {
  readonly type: string;
  readonly taskId?: string;
  readonly payload?: { readonly [name: string]: unknown };
}

/** What a watcher's page is to begin with. */
export interface WatcherOptions {
  readonly port: number;
  readonly token: string;
  readonly tasks: readonly string[];
}

/** The page, open in a tab, as a person and a developer's tools see it. */
export class Watcher {
  /** All WebSocket connections so far. */
  readonly sockets: WebSocket[] = [];
  readonly sent: Frame[] = [];
  readonly received: Frame[] = [];
  /** The addresses of all requests. */
  readonly requests: string[] = [];
  /** What should never be there: exceptions, and what breaks the content security policy. */
  readonly errors: string[] = [];

  private constructor(readonly page: Page) {
    page.on("pageerror", (error) => this.errors.push(String(error)));
    page.on("console", (message) => {
      // A connection that fails is in the console, whatever the page does about it.
      if (message.type() === "error" && !/WebSocket|Failed to load resource/.test(message.text())) {
        this.errors.push(message.text());
      }
    });
    page.on("request", (request) => this.requests.push(request.url()));
    page.on("websocket", (socket) => {
      this.sockets.push(socket);
      this.requests.push(socket.url());
      socket.on("framesent", ({ payload }) => this.sent.push(JSON.parse(String(payload))));
      socket.on("framereceived", ({ payload }) => this.received.push(JSON.parse(String(payload))));
    });
  }

  /** Opens a tab and returns when the page is there, with whatever it shows. */
  static async open(
    context: BrowserContext,
    options: WatcherOptions,
    prepare: (page: Page) => Promise<unknown> = async () => {},
  ): Promise<Watcher> {
    const page = await context.newPage();
    const watcher = new Watcher(page);
    await prepare(page);
    await page.goto(`http://127.0.0.1:${options.port}/${fragment(options)}`);
    return watcher;
  }

  /** A task's card, in a state if one is named. */
  card(taskId: string, status?: string): Locator {
    const state = status === undefined ? "" : `[data-status="${status}"]`;
    return this.page.locator(`[data-task="${taskId}"] .progressd-task${state}`);
  }

  /** Waits until the card's bar is at so many percent. */
  async seesPercentage(taskId: string, percentage: number): Promise<void> {
    await this.card(taskId).locator(`[role=progressbar][aria-valuenow="${percentage}"]`).waitFor();
  }

  /** Waits until the card is in a state. */
  async seesStatus(taskId: string, status: string): Promise<void> {
    await this.card(taskId, status).waitFor();
  }

  /** Waits until the connection, at the top of the page, is so. */
  async seesConnection(connection: string): Promise<void> {
    await this.page.locator(`.top [data-connection="${connection}"]`).waitFor();
  }

  /** Gives the page another token, as whoever embeds it would: without loading it again. */
  async takeToken(token: string): Promise<void> {
    await this.page.evaluate((text) => {
      location.hash = location.hash.replace(/token=[^&]*/, `token=${text}`);
    }, token);
  }
}

function fragment({ token, tasks }: WatcherOptions): string {
  return `#token=${encodeURIComponent(token)}&tasks=${tasks.join(",")}`;
}
