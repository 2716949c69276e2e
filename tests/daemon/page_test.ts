/** The page in a real browser: it starts a restore into a real QEMU, shows it, pauses and recovers it. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { listenForRecovery, waitForMigration } from "../../qemu/migration.ts";
import { PREEMPT, SavedGuest } from "../interop/saved_guest.ts";
import { testedQemus } from "../interop/qemus.ts";
import { within } from "../support/deadline.ts";
import { freePort } from "../support/free_port.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { needsChromium, screenshot } from "./browser.ts";
import { answer, PageHost, SLOWEST, stands, startRestore } from "./page_host.ts";

/** A guest that is saved, and a page at which it can be restored. */
async function withGuest(
  machine: Parameters<typeof SavedGuest.capture>[0],
  use: (saved: SavedGuest, host: PageHost) => Promise<void>,
): Promise<void> {
  await using saved = await SavedGuest.capture({ workingSetMiB: 16, ...machine });
  await using host = await PageHost.start({ "db-main": saved.path });
  await use(saved, host);
}

for (const { name, binary, skip } of await testedQemus()) {
  const reason = firstOf(skip, needsChromium());

  testUnless(
    reason,
    `the page restores a machine, and shows that all of it is there, with ${name}`,
    () =>
      withGuest({ binary }, async (saved, host) => {
        const { page, wrong } = await host.open();
        const { qemu, uri } = await saved.destination(PREEMPT);
        await page.getByText("Nothing moves yet").waitFor();
        await startRestore(page, uri);
        await stands(page, "completed");
        assertEquals(await page.getByRole("heading", { name: "db-main" }).count(), 1);
        assertEquals(await page.locator("#progress").getAttribute("value"), "1");
        await page.locator("#map-text").getByText("100 % in place, 0 pages missing").waitFor();
        await page.locator("#order-text").getByText("from left to right").waitFor();
        assertMatch(await page.locator("#latency-text").innerText(), /half below \d+ (µs|ms)/);
        await page.getByText("Memory as a table").click();
        const table = page.locator("#map-table tbody tr");
        assertMatch(await table.first().innerText(), /pc\.ram\s+64 MiB\s+0\s+0\s/);
        await screenshot(page, "completed-light-wide");
        assertEquals(wrong, []);
        await waitForMigration(qemu, ["completed"]);
        await saved.countsOn(qemu);
      }),
  );

  testUnless(
    reason,
    `the page pauses a restore, shows why, and recovers it, with ${name}`,
    () =>
      withGuest({ binary }, async (saved, host) => {
        const { page, wrong } = await host.open({ dark: true });
        const { qemu, uri } = await saved.destination(PREEMPT);
        await startRestore(page, uri, SLOWEST);
        await stands(page, "postcopy-active");
        await page.locator("#rates canvas").waitFor();
        await page.getByRole("button", { name: "Pause" }).click();
        await stands(page, "postcopy-paused");
        await page.getByText("Migration was paused at this end").first().waitFor();
        assertMatch(await page.locator("#announce").innerText(), /db-main is postcopy-paused: /);
        // Who was at the button that is gone has the session now, not the top of the page.
        assertEquals(await page.evaluate("document.activeElement.id"), "detail");
        await screenshot(page, "paused-dark-wide");
        await waitForMigration(qemu, ["postcopy-paused"]);
        const port = freePort();
        await listenForRecovery(qemu, port);
        await page.getByRole("button", { name: "Recover" }).click();
        await answer(page, "Recover", `tcp:127.0.0.1:${port}`);
        await stands(page, "postcopy-active");
        await page.locator("#detail-peer").getByText(`to tcp:127.0.0.1:${port}`).waitFor();
        await page.getByRole("button", { name: "Limit" }).click();
        await answer(page, "Set", "");
        await stands(page, "completed");
        await within("QEMU", waitForMigration(qemu, ["completed"]));
        assertEquals(wrong, []);
        const figures = await (await host.daemon.ask("/metrics")).text();
        assertMatch(figures, /postcopy_pauses_total\{direction="outgoing"\} 1\n/);
        assertMatch(figures, /postcopy_recoveries_total\{direction="outgoing"\} 1\n/);
        await saved.countsOn(qemu);
      }),
  );

  testUnless(
    reason,
    `the page cancels no restore that a guest needs unless it is told twice, with ${name}`,
    () =>
      withGuest({ binary }, async (saved, host) => {
        const { page } = await host.open();
        const { uri } = await saved.destination(PREEMPT);
        await startRestore(page, uri, SLOWEST);
        await stands(page, "postcopy-active");
        await page.getByRole("button", { name: "Cancel", exact: true }).click();
        await answer(page, "Cancel it");
        const dialog = page.getByRole("dialog", { name: "A guest would be lost" });
        await dialog.getByText("pages").waitFor();
        await dialog.getByRole("button", { name: "Close" }).click();
        assertEquals(await page.locator("#detail-status").innerText(), "postcopy-active");
        await page.getByRole("button", { name: "Cancel", exact: true }).click();
        await answer(page, "Cancel it");
        await answer(page, "Cancel all the same");
        await stands(page, "cancelled");
        await page.getByRole("button", { name: "Remove" }).click();
        await page.getByText("Nothing moves yet").waitFor();
      }),
  );
}
