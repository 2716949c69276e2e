import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { captureGuest } from "../../bench/disruption/captured.ts";
import { SCRIPT_END } from "../../bench/disruption/linux_files.ts";
import { restoreByServe, restoreFirst } from "../../bench/disruption/qemu_restore.ts";
import type { RestorableGuest } from "../../bench/disruption/restorable_guest.ts";
import { TemporaryDirectory } from "../../bench/support/temporary_directory.ts";
import { at, call, near, type Row, word } from "../../qemu/assembler.ts";
import { bootableSector, PROTECTED_MODE, SEGMENTS, SERIAL } from "../../qemu/bare_machine.ts";
import { qemuFromEnvironment, whyNoQemu } from "../../qemu/qemu_binary.ts";
import { Qemu } from "../../qemu/qemu.ts";
import { needsRoot, skipReason, testUnless } from "../support/skip.ts";

const binary = qemuFromEnvironment();
const reason = await whyNoQemu(binary);
const skip = reason === undefined ? needsRoot() : skipReason("missing package", reason);

const text = (text: string): number[] => [...new TextEncoder().encode(`${text}\n\0`)];

/** Says READY, and for each line that it is given that its script has ended. */
const CODE: readonly Row[] = [
  ...PROTECTED_MODE,
  ["", [0xbc, ...word(0x7000)], "mov esp, 0x7000"],
  ["", [0xbe, at("ready")], "mov esi, ready"],
  ["", [0xe8, call("print")], "call print"],
  ["wait", [0x66, 0xba, 0xfd, 0x03], "mov dx, 0x3fd: line status"],
  ["", [0xec], "in al, dx"],
  ["", [0xa8, 0x01], "test al, 1: anything received?"],
  ["", [0x74, near("wait")], "jz wait"],
  ["", [0xb2, 0xf8], "mov dl, 0xf8: data"],
  ["", [0xec], "in al, dx"],
  ["", [0x3c, 0x0a], "cmp al, '\\n'"],
  ["", [0x75, near("wait")], "jne wait"],
  ["", [0xbe, at("end")], "mov esi, end"],
  ["", [0xe8, call("print")], "call print"],
  ["", [0xeb, near("wait")], "jmp wait"],
  ...SERIAL,
  ["ready", text("READY"), "text"],
  ["end", text(SCRIPT_END), "text"],
  ...SEGMENTS,
];

testUnless(skip, "Qemu.type is heard at the guest's serial port", async () => {
  await using qemu = await Qemu.start({ binary, bootSector: bootableSector(CODE, {}).sector });
  await qemu.serial.waitForLine("readiness", (line) => line === "READY");
  for (let times = 1; times <= 2; times++) {
    const since = qemu.serial.lines.items.length;
    await qemu.type("go\n");
    await qemu.serial.waitForLine("an answer", (line) => line === SCRIPT_END, { since });
  }
  assertEquals(qemu.serial.lines.items.length, 3);
});

testUnless(
  skip,
  "restores of a guest with a script tell how long it took, and undisturbed",
  async () => {
    const guest: RestorableGuest = {
      name: "script",
      machine: { binary, memoryMiB: 24, bootSector: bootableSector(CODE, {}).sector },
      isReady: (line) => line === "READY",
    };
    using directory = new TemporaryDirectory();
    const captured = await captureGuest(guest, `${directory.path}/guest`);
    assertEquals(captured.luggage, { text: "", work: 0 });
    const timing = { window: 200, settle: 0, undisturbed: 200 };
    for (const restore of [restoreFirst, restoreByServe]) {
      const { seen } = await restore(captured, { placement: "scheduler", limit: 0, timing });
      if ("done" in seen) throw new Error("The guest tells no work");
      assertGreater(seen.took, 0, restore.name);
      assertGreater(seen.undisturbed, 0, restore.name);
    }
  },
);
