/** What the daemon advises about a guest that ran before its migration had ended, and that it is right. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { MigrationError } from "../../migration/migration_error.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { EventLog } from "../../daemon/service/event_log.ts";
import { servedAgain } from "../../daemon/service/served_again.ts";
import { SessionRecord } from "../../daemon/service/session_record.ts";
import { pausedLines } from "../../server/command/serve_report.ts";
import { until, within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { restore, Waiting } from "./destinations.ts";
import { SLOW, withImage } from "./one_image.ts";
import type { TestDaemon } from "./test_daemon.ts";

/** Has a guest run at a destination, without most of its memory, and the source know it. */
async function begun(daemon: TestDaemon, { to }: Waiting): Promise<string> {
  const body = restore("vm", to, { maxPostcopyBandwidth: SLOW });
  const { id } = await daemon.done("POST", "/v1/migrations", body);
  await until("the source to know that the guest runs", async () => {
    const { statistics } = await daemon.done("GET", `/v1/migrations/${id}`);
    return "time-to-run" in statistics;
  });
  return id;
}

Deno.test("a migration that was cancelled by force says how the daemon goes on with its guest, and that does", () =>
  withImage(async (daemon, image) => {
    await using waiting = await Waiting.start();
    const id = await begun(daemon, waiting);
    await waiting.runs();
    const { reason = "" } = await daemon.done("POST", `/v1/migrations/${id}/cancel`, {
      force: true,
    });
    assertMatch(reason, /lacks at least \d+ pages there/);
    assertMatch(
      reason,
      /do not end it there: have it listen \(migrate_recover tcp:0\.0\.0\.0:PORT\)/,
    );
    const advice = "go on with it (postcopy migrate vm --to tcp:127.0.0.1:PORT --recover, ";
    assert(reason.includes(advice), reason);
    assert(!/\bserve\b/.test(reason), reason);
    await within("the pause there", waiting.destination.waitFor("postcopy-paused"));
    const to = formatSocketAddress(await waiting.destination.recover(LOOPBACK));
    const again = await daemon.done("POST", "/v1/migrations", restore("vm", to, { recover: true }));
    assertEquals((await daemon.waits(again.id)).status, "completed");
    await within("the destination", waiting.destination.finished);
    image.assertEqualMemory(waiting.guest.blocks);
  }));

Deno.test("a migration that the next daemon goes on with says so, and of nothing that would be in its way", () =>
  withImage(async (daemon) => {
    await using waiting = await Waiting.start();
    const id = await begun(daemon, waiting);
    await waiting.runs();
    await within("the service's end", daemon.service.close());
    const { status, reason = "" } = daemon.service.get(id);
    assertEquals(status, "cancelled");
    assert(reason.includes("start the daemon, which goes on with it by itself"), reason);
    assert(reason.includes(`postcopy recover ${id} --to ADDRESS`), reason);
    assert(!/\bserve\b|--recover/.test(reason), reason);
  }));

Deno.test("servedAgain writes names for a shell, and takes the address that was the last", () => {
  const init = { id: "ab", direction: "outgoing", startedAt: "", events: new EventLog() } as const;
  const record = new SessionRecord({ ...init, image: "my vm" }, "tcp:[::1]:4444");
  const { recover } = servedAgain(record, () => false);
  assert(recover.includes("postcopy migrate 'my vm' --to 'tcp:[::1]:PORT' --recover,"), recover);
  record.peer = "unix:/run/vm:1";
  const unix = servedAgain(record, () => false).recover;
  assert(unix.includes("--to unix:/run/vm:1 --recover,"), unix);
});

Deno.test("pausedLines says in its owner's words how something else than was read at the start is used", () => {
  const failed = new MigrationError("TLS_FAILED", "No certificate");
  const sent = { ram: { remaining: 4096, "page-size": 4096 } };
  const lines = (again: string | false) =>
    pausedLines(failed, sent, LOOPBACK, again, "by postcopy cancel ab --force").join("\n");
  assert(
    lines("go on with it").includes("end this by postcopy cancel ab --force, and go on with it"),
  );
  assert(lines(false).includes("was read at the start and stays as it is"));
});
