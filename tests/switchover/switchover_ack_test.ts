import { assertEquals, assertThrows } from "@std/assert";
import { parseOptions, UsageError } from "../../migration/command/arguments.ts";
import {
  SWITCHOVER_ACK_OPTIONS,
  switchoverAckArguments,
} from "../../migration/command/switchover_ack_options.ts";
import { expectsApproval, switchoverAckInit } from "../../migration/protocol/switchover_ack.ts";

Deno.test("expectsApproval goes by the machine type, up to 11.0", () => {
  for (const machine of ["pc-q35-7.2", "pc-i440fx-8.1", "pc-q35-10.2", "virt-11.0"]) {
    assertEquals(expectsApproval(machine, {}), true, machine);
  }
  for (const machine of ["pc-q35-11.1", "virt-12.0", "microvm", "postcopy-workload"]) {
    assertEquals(expectsApproval(machine, {}), false, machine);
  }
});

Deno.test("expectsApproval believes who knows better than the machine type", () => {
  assertEquals(expectsApproval("pc-q35-9.0", { legacy: false }), false);
  assertEquals(expectsApproval("microvm", { legacy: true }), true);
});

Deno.test("switchoverAckInit is nothing as long as the capability is off", () => {
  assertEquals(switchoverAckInit({}), undefined);
  assertEquals(switchoverAckInit({ switchoverAck: false, switchoverAckLegacy: true }), undefined);
  assertEquals(switchoverAckInit({ switchoverAck: true }), {});
  assertEquals(switchoverAckInit({ switchoverAck: true, switchoverAckLegacy: false }), {
    legacy: false,
  });
});

Deno.test("switchoverAckArguments reads both flags, and refuses the second alone", () => {
  const read = (...args: string[]) =>
    switchoverAckArguments(parseOptions(args, SWITCHOVER_ACK_OPTIONS));
  assertEquals(read(), {});
  assertEquals(read("--switchover-ack"), { switchoverAck: true });
  assertEquals(read("--switchover-ack", "--switchover-ack-legacy", "off"), {
    switchoverAck: true,
    switchoverAckLegacy: false,
  });
  assertThrows(
    () => read("--switchover-ack-legacy", "on"),
    UsageError,
    "--switchover-ack-legacy on without --switchover-ack",
  );
  assertThrows(
    () => read("--switchover-ack", "--switchover-ack-legacy", "yes"),
    UsageError,
    "yes",
  );
});
