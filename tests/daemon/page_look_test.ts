/** How the page looks and is used, while a machine moves as a test wants it. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { Browser, needsChromium, screenshot } from "./browser.ts";
import { PageDaemon } from "./page_daemon.ts";
import type { Restless } from "./restless_worker.ts";
import { answer, PageHost, SLOWEST, stands, startRestore } from "./page_host.ts";

/** Pages of the guest's memory. */
const PAGES = 24_576;

/** Runs with a machine that can be restored to a guest which touches its pages here and there. */
async function withRestless(
  use: (host: PageHost, to: string) => Promise<void>,
): Promise<void> {
  using image = await TestImage.make({ "pc.ram": PAGES, "vga.vram": 4096, "pc.bios": 64 });
  const guest = new StillGuest(({ blocks: [ram] }) =>
    worker.postMessage({ address: ram!.address, pages: PAGES } satisfies Restless)
  );
  // Closed last: only then does a thread get on that waits for a page.
  await using destination = new Destination({ guest });
  using stack = new DisposableStack();
  const worker = stack.adopt(
    new Worker(new URL("./restless_worker.ts", import.meta.url), { type: "module" }),
    (worker) => worker.terminate(),
  );
  const to = formatSocketAddress(await destination.listen(LOOPBACK));
  await using host = await PageHost.start({ "db-main": image.path, "web-1": image.path });
  await use(host, to);
}

testUnless(
  needsChromium(),
  "the page fits each screen, dark and light, while a machine moves",
  () =>
    withRestless(async (host, to) => {
      const begun = await host.daemon.ask("/v1/migrations", {
        method: "POST",
        body: JSON.stringify({
          ...{ direction: "outgoing", image: "db-main", to },
          maxPostcopyBandwidth: 1 << 19,
        }),
      });
      assertEquals(begun.status, 201, await begun.text());
      for (const dark of [false, true]) {
        for (const [size, width, height] of [["wide", 1400, 1000], ["narrow", 390, 844]] as const) {
          const { page, wrong } = await host.open({ dark, width, height });
          await page.locator("#map-text").getByText("asked for so far").waitFor();
          await page.locator("#rates canvas").waitFor();
          await screenshot(page, `moving-${dark ? "dark" : "light"}-${size}`);
          const over = await page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth",
          );
          assertEquals(over, 0, `${size}: it is ${over} pixels too wide`);
          const ground = await page.evaluate<string>(
            "getComputedStyle(document.documentElement).backgroundColor",
          );
          assertEquals(/rgb\(\d\d?, /.test(ground), dark, ground);
          assertEquals(wrong, []);
          await page.context().close();
        }
      }
    }),
);

testUnless(
  needsChromium(),
  "the page can be used by keyboard, and keeps the focus where it is",
  () =>
    withRestless(async (host, to) => {
      const { page } = await host.open();
      await startRestore(page, to, SLOWEST);
      await stands(page, "postcopy-active");
      const link = page.locator("a.session");
      await link.focus();
      // Two looks later it is still there, though all that is shown has changed.
      for (let look = 0; look < 2; look++) {
        await page.waitForResponse((response) => response.url().includes("/map?"));
      }
      assertEquals(await page.evaluate("document.activeElement.className"), "session");
      await page.getByRole("button", { name: "New migration" }).focus();
      await page.keyboard.press("Enter");
      await page.getByRole("dialog", { name: "New migration" }).waitFor();
      await screenshot(page, "start-light-wide");
      await page.keyboard.press("Escape");
      await page.getByRole("dialog", { name: "New migration" }).waitFor({ state: "hidden" });
      assertEquals(await page.evaluate("document.activeElement.id"), "start");
      await page.getByRole("button", { name: "Pause" }).focus();
      await page.keyboard.press("Enter");
      await stands(page, "postcopy-paused");
      await page.getByRole("button", { name: "Recover" }).focus();
      await page.keyboard.press("Enter");
      await page.getByRole("dialog", { name: "Recover db-main" }).waitFor();
      await page.keyboard.press("Enter");
      await stands(page, "postcopy-active");
    }),
);

testUnless(
  needsChromium(),
  "the page has names for all that it shows, for who cannot see it",
  () =>
    withRestless(async (host, to) => {
      const { page } = await host.open();
      await startRestore(page, to, SLOWEST);
      await stands(page, "postcopy-active");
      await page.locator("#map-text").getByText("asked for so far").waitFor();
      const tree = await page.locator("body").ariaSnapshot();
      for (
        const part of [
          "- banner:",
          '- navigation "Sessions',
          '- heading "Memory" [level=3]',
          '- img "Memory 112 MiB in 3 blocks, ',
          '- img "Rates ',
          'img "Fault latency From a request read to its page sent: mean ',
          '- progressbar "',
          '- button "Pause"',
          '- list "What happened"',
          "- status: db-main is postcopy-active",
        ]
      ) {
        assert(tree.includes(part), `${part} is not in:\n${tree}`);
      }
      assertEquals(/- (button|textbox|combobox|link|img)( \[.*\])?:?$/m.exec(tree), null, tree);
    }),
);

testUnless(
  needsChromium(),
  "the page says why a migration cannot begin, and receives a machine into an image",
  async () => {
    await using host = await PageHost.start({});
    const { page, wrong } = await host.open({ dark: true });
    await page.getByRole("button", { name: "New migration" }).click();
    const dialog = page.getByRole("dialog", { name: "New migration" });
    await dialog.getByLabel("Receive a machine into an image").check();
    await dialog.getByLabel("Name of the new image").fill("web-1");
    await dialog.getByLabel("Listen at").fill("nowhere at all");
    await dialog.getByRole("button", { name: "Start" }).click();
    await dialog.getByRole("alert").getByText("nowhere at all").waitFor();
    await screenshot(page, "refused-dark-wide");
    await dialog.getByLabel("Listen at").fill("tcp:127.0.0.1:0");
    await dialog.getByRole("button", { name: "Start" }).click();
    await stands(page, "setup");
    await page.locator("#detail-peer").getByText(/^from tcp:127\.0\.0\.1:\d+$/).waitFor();
    await page.getByText("Its memory is not known yet").waitFor();
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await answer(page, "Cancel it");
    await stands(page, "cancelled");
    assertEquals(wrong, []);
  },
);

testUnless(needsChromium(), "the page lets in nobody without the token", async () => {
  await using daemon = await PageDaemon.start({});
  await using browser = await Browser.start();
  const { page, wrong } = await browser.open(daemon.url);
  await page.getByRole("textbox", { name: "Token" }).fill("not the token at all");
  await page.getByRole("button", { name: "Connect" }).click();
  await page.getByRole("alert").getByText("does not take this token").waitFor();
  assertEquals(await page.getByRole("button", { name: "New migration" }).isDisabled(), true);
  await screenshot(page, "token-light-wide");
  assertEquals(wrong, []);
});

testUnless(
  needsChromium(),
  "the page recovers the session that it was asked about, though a newer one is shown by then",
  () =>
    withRestless(async (host, to) => {
      const start = async (body: Record<string, unknown>): Promise<string> => {
        const init = { method: "POST", body: JSON.stringify(body) };
        return (await (await host.daemon.ask("/v1/migrations", init)).json()).id;
      };
      const id = await start({
        ...{ direction: "outgoing", image: "db-main", to, maxPostcopyBandwidth: 512 },
      });
      const { page, wrong } = await host.open();
      await stands(page, "postcopy-active");
      await page.getByRole("button", { name: "Pause" }).click();
      await stands(page, "postcopy-paused");
      await page.getByRole("button", { name: "Recover" }).click();
      await start({ direction: "incoming", image: "newer", listen: "tcp:127.0.0.1:0" });
      await page.locator("#detail-title").getByText("newer").waitFor();
      await answer(page, "Recover");
      await page.locator("#ask-dialog").waitFor({ state: "hidden" });
      const path = `/v1/migrations/${id}/wait?for=postcopy-active&timeout=60`;
      assertEquals((await (await host.daemon.ask(path)).json()).status, "postcopy-active");
      assertEquals(wrong, []);
    }),
);
