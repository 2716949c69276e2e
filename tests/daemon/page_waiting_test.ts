/** The page of a daemon that cannot go on yet with what one before it had begun. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { testUnless } from "../support/skip.ts";
import { needsChromium } from "./browser.ts";
import { answer, PageHost, stands } from "./page_host.ts";

testUnless(
  needsChromium(),
  "the page shows what a session waits for that is not gone on with yet, and ends it when it is told twice",
  async () => {
    const kept = {
      id: "w1",
      startedAt: "2026-11-29T12:00:00.000Z",
      request: { direction: "outgoing", image: "db-main", to: "tcp:192.0.2.1:4444" },
    } as const;
    await using host = await PageHost.start({}, {}, [kept]);
    const { page, wrong } = await host.open();
    await stands(page, "postcopy-paused");
    await page.locator("#reason-text").getByText("No such image: db-main").waitFor();
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await answer(page, "Cancel it");
    const dialog = page.getByRole("dialog", { name: "A guest would be lost" });
    await dialog.getByText("stands still at the first of them").waitFor();
    await answer(page, "Cancel all the same");
    await stands(page, "cancelled");
    await page.getByRole("button", { name: "Remove" }).click();
    await page.getByText("Nothing moves yet").waitFor();
    assertEquals(wrong, []);
  },
);
