/** What people are told of a QEMU's events. */
import { assertEquals } from "@std/assert";
import { MigrationEvents } from "../../../daemon/qmp/migration_events.ts";

/** What is told of events, each with its data. */
function told(...events: readonly (readonly [string, Record<string, unknown>])[]): string[] {
  const said: string[] = [];
  const migration = new MigrationEvents();
  migration.onNews = (text) => said.push(text);
  for (const [name, data] of events) migration.hear({ name, data, timestamp: 0, arrivedAt: 0 });
  return said;
}

Deno.test("MigrationEvents tells a QEMU that is ended from a guest that shuts down", () => {
  assertEquals(
    told(
      ["STOP", {}],
      ["SHUTDOWN", { guest: false, reason: "host-qmp-quit" }],
      ["SHUTDOWN", { guest: true, reason: "guest-shutdown" }],
    ),
    ["QEMU: the guest is stopped", "QEMU ends", "QEMU: the guest shut down"],
  );
});
