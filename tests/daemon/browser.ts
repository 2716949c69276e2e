/** A real browser, headless, which a test drives: Debian's Chromium. */

import { findCommand } from "../../tools/find_command.ts";
import { needsCommand, type SkipReason } from "../support/skip.ts";

import { chromium, type Driver, type Page } from "./npm/playwright.ts";

export type { Page };

const CHROMIUM = "chromium";
/** Where screenshots go: a directory that a variable names, or the project's cache. */
const SCREENSHOTS = Deno.env.get("POSTCOPY_SCREENSHOTS") ??
  new URL("../../.cache/screenshots", import.meta.url).pathname;

/** Without a sandbox it runs as root too, and with the others it asks nothing of hosts elsewhere. */
const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
  "--hide-scrollbars",
  "--remote-debugging-port=0",
];

/** The need for a browser. */
export function needsChromium(): SkipReason | undefined {
  return needsCommand(CHROMIUM, "chromium");
}

/** How a page is looked at. */
export interface Look {
  readonly dark?: boolean;
  readonly width?: number;
  readonly height?: number;
}

/** One browser; ends with its profile when it is disposed of. */
export class Browser implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #driver: Driver;
  readonly #profile: string;
  readonly #said: Promise<void>;

  private constructor(
    child: Deno.ChildProcess,
    driver: Driver,
    profile: string,
    said: Promise<void>,
  ) {
    this.#child = child;
    this.#driver = driver;
    this.#profile = profile;
    this.#said = said;
  }

  /** Starts one, with an empty profile. */
  static async start(): Promise<Browser> {
    const profile = await Deno.makeTempDir({ prefix: "postcopy-chromium-" });
    const child = new Deno.Command(findCommand(CHROMIUM)!, {
      args: [...FLAGS, `--user-data-dir=${profile}`, "about:blank"],
      env: { TMPDIR: profile }, // told to end, it leaves files there
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const said = listenTo(child.stderr, resolve).then(() => reject(new Error("It has ended")));
    promise.catch(() => {});
    try {
      const driver = await chromium.connectOverCDP(await promise);
      return new Browser(child, driver, profile, said);
    } catch (error) {
      child.kill("SIGKILL");
      await child.status;
      await Deno.remove(profile, { recursive: true });
      throw error;
    }
  }

  /**
   * Opens a page, as a user of its own.
   *
   * @returns the page, and what went wrong in it: errors, and what its policy forbids
   */
  async open(
    url: string,
    { dark = false, width = 1400, height = 1000 }: Look = {},
  ): Promise<{ readonly page: Page; readonly wrong: string[] }> {
    const context = await this.#driver.newContext({
      colorScheme: dark ? "dark" : "light",
      viewport: { width, height },
      reducedMotion: "no-preference",
    });
    context.setDefaultTimeout(60_000);
    const page = await context.newPage();
    const wrong: string[] = [];
    page.on("pageerror", (error) => wrong.push(error.message));
    page.on("console", (message) => {
      // That it asks without a token first is how it learns that one is needed.
      if (message.type() === "error" && !/status of 4(00|01|04|09)/.test(message.text())) {
        wrong.push(message.text());
      }
    });
    await page.goto(url);
    return { page, wrong };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#driver.close();
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.#said;
    await Deno.remove(this.#profile, { recursive: true }).catch(() => {});
  }
}

/** Takes a picture of a page, to be looked at. */
export async function screenshot(page: Page, name: string): Promise<void> {
  await Deno.mkdir(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true });
}

/** Reads what it says to its end, and where it can be driven from. */
async function listenTo(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  found: (endpoint: string) => void,
): Promise<void> {
  let text = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    text = (text + part).slice(-4096);
    const [, endpoint] = /DevTools listening on (ws:\S+)\s/.exec(text) ?? [];
    if (endpoint !== undefined) found(endpoint);
  }
}
