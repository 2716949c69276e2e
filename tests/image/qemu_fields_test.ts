/**
 * Fields of captures that a real QEMU writes, held against what QEMU's own monitor says of the same
 * machine while it stands still.
 */
import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { DescribedStructure } from "../../migration/device/described_state.ts";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import { inspectFields } from "../../image/inspect/inspect_fields.ts";
import { bytesOf, structureOf, valueOf, valuesOf } from "../device/find_field.ts";
import { testedQemus } from "../interop/qemus.ts";
import { capture } from "../../qemu/capture.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { testUnless } from "../support/skip.ts";
import { withDirectory } from "./captures.ts";

const MEMORY_MIB = 32;

/** What QEMU says of its machine. */
interface Said {
  readonly registers: string;
  readonly apic: string;
  readonly pic: string;
  /** Of the AHCI's registers, BAR 5. */
  readonly ahciAddress: number;
}

function stateOf(image: Image, name: string, instance = 0): DescribedStructure {
  const [device] = inspectFields(image, { name, instance }).devices;
  assert(device?.state !== undefined, `${name}: ${device?.problem}`);
  return device.state;
}

/** The hexadecimal number behind a name in the monitor's text. */
function number(text: string, name: string): bigint {
  const match = new RegExp(`\\b${name} *[=\\t ] *(?:0x)?([0-9a-fA-F]+)`).exec(text);
  assert(match !== null, `No ${name} in:\n${text}`);
  return BigInt(`0x${match[1]}`);
}

function assertProcessor(image: Image, { registers }: Said): void {
  const cpu = stateOf(image, "cpu");
  const names = ["EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"];
  const expected = names.map((name) => number(registers, name));
  assert(expected.some((each) => each !== 0n));
  assertEquals(valuesOf(cpu, "env.regs").slice(0, 8), expected);
  assertEquals(valueOf(cpu, "env.eip"), number(registers, "EIP"));
  assertEquals(valueOf(cpu, "env.eflags"), number(registers, "EFL"));
  for (const index of [0, 2, 3, 4]) {
    assertEquals(valueOf(cpu, `env.cr[${index}]`), number(registers, `CR${index}`));
  }
  const [, base, limit] = /GDT= +([0-9a-f]+) ([0-9a-f]+)/.exec(registers)!;
  const table = structureOf(cpu, "env.gdt");
  assertEquals(valueOf(table, "base"), BigInt(`0x${base}`));
  assertEquals(valueOf(table, "limit"), Number(`0x${limit}`));
}

function assertInterruptControllers(image: Image, { apic, pic }: Said): void {
  const vectors = ["LVTT", "LVTTHMR", "LVTPC", "LVT0", "LVT1", "LVTERR"];
  const expected = vectors.map((name) => Number(number(apic, name)));
  assertEquals(valuesOf(stateOf(image, "apic"), "lvt"), expected);
  const pins = Array.from(pic.matchAll(/pin +\d+ +(0x[0-9a-f]+)/g), ([, pin]) => BigInt(pin!));
  assertEquals(valuesOf(stateOf(image, "ioapic"), "ioredtbl"), pins);
  for (const instance of [0, 1]) {
    const [line] = new RegExp(`\\bpic${instance}:.*`).exec(pic)!;
    const state = stateOf(image, "i8259", instance);
    for (const name of ["irr", "imr", "isr", "irq_base", "elcr"]) {
      assertEquals(valueOf(state, name), Number(number(line, name)), line);
    }
  }
}

function assertBoard(image: Image, { ahciAddress }: Said): void {
  const ahci = structureOf(stateOf(image, "0000:00:1f.2/ich9_ahci"), "parent_obj");
  const config = new DataView(bytesOf(ahci, "config[0]").buffer);
  assertEquals(config.getUint32(0x24, true), ahciAddress);
  // Memory above 16 MiB in units of 64 KiB, where PC BIOSes look for it.
  const cmos = bytesOf(stateOf(image, "mc146818rtc"), "cmos_data");
  assertEquals((cmos[0x34]! | cmos[0x35]! << 8) * 65536, (MEMORY_MIB - 16) * 2 ** 20);
  const runState = bytesOf(stateOf(image, "globalstate"), "runstate");
  assertMatch(new TextDecoder().decode(runState), /^paused\0*$/);
}

for (const { name, binary, skip } of await testedQemus()) {
  testUnless(skip, `inspectFields gives what the monitor of ${name} says`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/image`;
      await using qemu = await startGuest({ binary, memoryMiB: MEMORY_MIB });
      await waitForRound(qemu, 1);
      await qemu.stop();
      const said = await monitorOf(qemu);
      await capture(qemu, path);
      using image = await openImage(path);
      assertProcessor(image, said);
      assertInterruptControllers(image, said);
      assertBoard(image, said);
    });
  });
}

async function monitorOf(qemu: Qemu): Promise<Said> {
  type Region = { bar: number; address: number };
  type Bus = { devices: { slot: number; function: number; regions: Region[] }[] };
  const [bus] = await qemu.execute<Bus[]>("query-pci");
  const ahci = bus!.devices.find((device) => device.slot === 31 && device.function === 2)!;
  return {
    registers: await qemu.monitor("info registers"),
    apic: await qemu.monitor("info lapic"),
    pic: await qemu.monitor("info pic"),
    ahciAddress: ahci.regions.find(({ bar }) => bar === 5)!.address,
  };
}
