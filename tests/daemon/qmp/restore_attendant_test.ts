/** What an attendant says of the end of a QEMU that cannot be asked any more. */
import { assertEquals, assertMatch } from "@std/assert";
import { MigrationEvents } from "../../../daemon/qmp/migration_events.ts";
import { Monitor } from "../../../daemon/qmp/monitor.ts";
import { RestoreAttendant } from "../../../daemon/qmp/restore_attendant.ts";
import { WaitingPlace } from "../../../daemon/qmp/waiting_place.ts";
import { parseSocketAddress } from "../../../ffi/socket_address.ts";
import type { DestinationReport, ServedOutcome } from "../../../server/command/attendant.ts";
import { within } from "../../support/deadline.ts";
import { GREETING, QmpPeer } from "./qmp_peer.ts";

/** Milliseconds that no test waits. */
const LONG = 600_000;

/** What is said of a QEMU that tells of these states by itself, and answers nothing from then on. */
async function reportOf(
  states: readonly string[],
  outcome: ServedOutcome,
): Promise<DestinationReport> {
  const told = states.map((status) =>
    `${JSON.stringify({ event: "MIGRATION", data: { status }, timestamp: TIME })}\r\n`
  );
  await using peer = new QmpPeer(GREETING, (line) => {
    const { execute, id } = JSON.parse(line);
    if (execute !== "qmp_capabilities") return undefined;
    return [`${JSON.stringify({ return: {}, id })}\r\n`, ...told].join("");
  });
  const events = new MigrationEvents();
  const qmp = parseSocketAddress(peer.uri);
  const options = { address: qmp, timeout: LONG, onEvent: events.hear, onEnd: events.end };
  await using monitor = await within("the monitor", Monitor.connect(options));
  if (states.length > 0) await within("the state", events.reached(states.slice(-1), LONG));
  options.timeout = 0; // from here on it is silent
  const to = parseSocketAddress("tcp:127.0.0.1:4444");
  using place = await WaitingPlace.find({ qmp, listen: to, to: undefined }, undefined);
  const attendant = new RestoreAttendant({
    ...{ monitor, events, place, first: place.first(), connectsFirst: true, timeout: LONG },
    recoverCommand: "postcopy restore --recover",
  });
  return await within("the report", attendant.ended(outcome));
}

const TIME = { seconds: 1, microseconds: 2 };

Deno.test("RestoreAttendant takes QEMU's own word for the end, and says so, when it answers nothing any more", async () => {
  const { json, lines } = await reportOf(["postcopy-active", "completed"], "completed");
  assertEquals(json["destination"], { status: "completed" });
  assertEquals(lines.length, 1);
  assertMatch(
    lines[0]!,
    /^QEMU says: completed, and could not be asked more: QEMU does not answer query-migrate .*: see that its guest goes on: if it stands still for good, end it, /,
  );
});

Deno.test("RestoreAttendant says of a silent QEMU no more than it knows", async () => {
  for (const states of [[], ["postcopy-active"]]) {
    const { json, lines } = await reportOf(states, "completed");
    assertEquals(json["destination"], undefined);
    assertMatch(lines[0]!, /^QEMU could not be asked how it went there: QEMU does not answer/);
  }
  const { json, lines } = await reportOf(["completed"], "handed-over");
  assertEquals(json["destination"], undefined);
  assertEquals(lines, ["To go on with the guest:", "  postcopy restore --recover"]);
});
