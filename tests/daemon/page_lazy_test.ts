/** Lazy sessions in the page, in a real browser. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { memoryContent, needsVmm, Vmm } from "../lazy/vmm.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { needsChromium, type Page, screenshot } from "./browser.ts";
import { answer, PageHost, stands } from "./page_host.ts";

const PAGE = 4096;
const LENGTH = 64 * PAGE;

/** Runs with a page of a daemon that has a memory file, and a directory of sockets. */
async function withMemory(use: (host: PageHost, sockets: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "postcopy-page-lazy-" });
  try {
    const sockets = `${directory}/sockets`;
    await Deno.mkdir(sockets);
    await Deno.writeFile(`${directory}/memory`, memoryContent(LENGTH));
    const images = { "vm.mem": `${directory}/memory` };
    await using host = await PageHost.start(images, { directories: { sockets } });
    await use(host, sockets);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Opens the dialog, with the images that there are. */
async function openDialog(page: Page) {
  await page.getByRole("button", { name: "New migration" }).click();
  const dialog = page.getByRole("dialog", { name: "New migration" });
  await dialog.getByRole("option", { name: /vm\.mem/ }).waitFor({ state: "attached" });
  return dialog;
}

testUnless(
  firstOf(needsVmm, needsChromium()),
  "the page has VMs served, by keyboard alone, and cancels that only when none of them needs it",
  () =>
    withMemory(async (host, sockets) => {
      const { page, wrong } = await host.open();
      const dialog = await openDialog(page);
      await dialog.getByLabel("Restore an image at a destination").focus();
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("ArrowDown");
      const chosen = dialog.getByLabel("Serve memory to Firecracker's VMs");
      assertEquals(await chosen.isChecked(), true);
      // Tab leads from field to field, and to nothing that is not for it.
      await page.keyboard.press("Tab");
      assertEquals(await page.evaluate("document.activeElement.id"), "start-memory");
      await page.keyboard.press("Tab");
      assertEquals(await page.evaluate("document.activeElement.id"), "start-socket");
      const tree = await dialog.ariaSnapshot();
      for (const part of ['- combobox "Memory"', '- textbox "Socket"', "- group: Options"]) {
        assert(tree.includes(part), `${part} is not in:\n${tree}`);
      }
      await page.keyboard.type("vm.sock");
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      await dialog.getByLabel("Pages that nobody asks for").selectOption("false");
      await screenshot(page, "start-lazy-light-wide");
      await dialog.getByLabel("Socket").press("Enter");
      // The session may be shown, of which the events tell, before the answer closes the dialog.
      await dialog.waitFor({ state: "hidden" });
      await stands(page, "active");
      assertEquals(await page.evaluate("document.activeElement.id"), "detail");
      const text = page.locator("#progress-text");
      await text.getByText("No process needs it").waitFor();
      // Of what is not known of it nothing is said, and nothing wrong.
      assertEquals(await page.getByRole("heading", { level: 3 }).allInnerTexts(), [
        "Rates",
        "What happened",
      ]);
      await page.locator("#detail-peer").getByText(/^at unix:.*vm\.sock$/).waitFor();

      await using vmm = await Vmm.start(`${sockets}/vm.sock`, {
        regions: [{ length: LENGTH, offset: 0 }],
      });
      assertEquals(await vmm.touch(PAGE), "image");
      await text.getByText("1.5 % of 256 KiB").waitFor();
      await page.locator("#log").getByText(`Process ${vmm.pid} of user 0: 256 KiB handed`)
        .waitFor();
      await screenshot(page, "lazy-light-wide");
      await page.getByRole("button", { name: "Cancel", exact: true }).click();
      await page.getByText("Processes that it serves: 1.").waitFor();
      await answer(page, "Cancel it");
      const refusal = page.getByRole("dialog", { name: "Processes would stop" });
      await refusal.getByText("each stops at the next page that is missing").waitFor();
      await refusal.getByRole("button", { name: "Close" }).click();
      assertEquals(await vmm.touch(2 * PAGE), "image");
      await vmm.kill();
      await text.getByText("No process needs it").waitFor();
      await page.getByRole("button", { name: "Cancel", exact: true }).click();
      await answer(page, "Cancel it");
      await stands(page, "cancelled");
      await page.getByRole("button", { name: "Remove" }).click();
      await page.getByText("Nothing moves yet").waitFor();
      assertEquals(wrong, []);
    }),
);

testUnless(
  needsChromium(),
  "the page says why memory cannot be served, of a page server and of CRIU's images",
  () =>
    withMemory(async (host) => {
      const { page, wrong } = await host.open({ dark: true });
      const dialog = await openDialog(page);
      const from = dialog.getByLabel("Image at the page server");
      await dialog.getByLabel("Serve memory to Firecracker's VMs").check();
      assertEquals(await from.isVisible(), false);
      await dialog.getByLabel("Memory", { exact: true }).selectOption("");
      await from.fill("nowhere at all");
      await dialog.getByLabel("Socket").fill("vm.sock");
      await dialog.getByRole("button", { name: "Start" }).click();
      await dialog.getByRole("alert").getByText("nowhere at all").waitFor();
      await dialog.getByLabel("Serve memory to processes that CRIU restores").check();
      await dialog.getByLabel("Images of CRIU").fill("web-1");
      await dialog.getByRole("button", { name: "Start" }).click();
      await dialog.getByRole("alert").getByText("directories.criu").waitFor();
      await screenshot(page, "refused-lazy-dark-wide");
      assertEquals(wrong, []);
    }),
);
