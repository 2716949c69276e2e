/** A daemon with its page, a browser, and what a user does there. */

import type { KeptSession } from "../../daemon/service/state_store.ts";
import { Browser, type Look, type Page } from "./browser.ts";
import { PageDaemon } from "./page_daemon.ts";

/** MiB a second: zero pages, of nine bytes each, take minutes of it, so that no test comes too late. */
export const SLOWEST = "0.0005";

/** The page opened. */
export interface Opened {
  readonly page: Page;
  /** What went wrong in it. */
  readonly wrong: readonly string[];
}

/** A daemon, and a browser. */
export class PageHost implements AsyncDisposable {
  readonly daemon: PageDaemon;
  readonly browser: Browser;
  readonly #stack: AsyncDisposableStack;

  private constructor(daemon: PageDaemon, browser: Browser, stack: AsyncDisposableStack) {
    this.daemon = daemon;
    this.browser = browser;
    this.#stack = stack;
  }

  /**
   * Starts both.
   *
   * @param images files by name
   * @param sections what else the daemon's configuration says
   * @param kept what a daemon before it has left
   */
  static async start(
    images: Readonly<Record<string, string>>,
    sections: Readonly<Record<string, unknown>> = {},
    kept: readonly KeptSession[] = [],
  ): Promise<PageHost> {
    await using stack = new AsyncDisposableStack();
    const daemon = stack.use(await PageDaemon.start(images, sections, kept));
    const browser = stack.use(await Browser.start());
    return new PageHost(daemon, browser, stack.move());
  }

  /** Opens the page and shows it the token. */
  async open(look?: Look): Promise<Opened> {
    const opened = await this.browser.open(this.daemon.url, look);
    await opened.page.getByRole("textbox", { name: "Token" }).fill(this.daemon.token);
    await opened.page.getByRole("button", { name: "Connect" }).click();
    await opened.page.getByText("Connected", { exact: true }).waitFor();
    return opened;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Starts a restore by the page's form. */
export async function startRestore(page: Page, to: string, limit?: string): Promise<void> {
  await page.getByRole("button", { name: "New migration" }).click();
  const dialog = page.getByRole("dialog", { name: "New migration" });
  await dialog.getByRole("option", { name: /db-main/ }).waitFor({ state: "attached" });
  await dialog.getByLabel("Image", { exact: true }).selectOption("db-main");
  await dialog.getByRole("textbox", { name: "Destination" }).fill(to);
  if (limit !== undefined) {
    await dialog.getByText("More").click();
    await dialog.getByLabel("Background limit, MiB/s").fill(limit);
  }
  await dialog.getByRole("button", { name: "Start" }).click();
  await dialog.waitFor({ state: "hidden" });
}

/** Waits until the session that is shown stands somewhere. */
export async function stands(page: Page, status: string): Promise<void> {
  await page.locator("#detail-status").getByText(status, { exact: true }).waitFor();
}

/** Answers the dialog that asks for one thing. */
export async function answer(page: Page, button: string, value?: string): Promise<void> {
  const dialog = page.locator("#ask-dialog");
  if (value !== undefined) await dialog.locator("#ask-value").fill(value);
  await dialog.getByRole("button", { name: button }).click();
}
