/** Fields of the devices in recordings of real QEMU. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import type { DescribedStructure } from "../../migration/device/described_state.ts";
import { describeFields, type SectionPayload } from "../../migration/device/described_fields.ts";
import { DescriptionError } from "../../migration/device/description_error.ts";
import {
  deviceSections,
  IgnoreStream,
  parseVmDescription,
  splitDeviceState,
  StreamDecoder,
} from "../../migration/protocol/mod.ts";
import { readRecording } from "../support/fixtures.ts";
import { Random } from "../support/random.ts";
import { CAPTURES, MAPPED_CAPTURES } from "../support/recorded.ts";
import { needsRecording, testUnless } from "../support/skip.ts";
import {
  bytesOf,
  structureOf,
  structuresOf,
  subsectionOf,
  valueOf,
  valuesOf,
} from "./find_field.ts";

/** A device of a recording with its own description. */
interface RecordedDevice extends SectionPayload {
  readonly description: object;
}

class Recording extends IgnoreStream {
  readonly devices: readonly RecordedDevice[];
  /** Bytes of the RAM blocks, as fields of 64 bits have them. */
  readonly blocks = new Map<string, bigint>();
  #tail: Uint8Array = new Uint8Array(0);

  constructor(path: string) {
    super();
    const decoder = new StreamDecoder(this);
    decoder.feed(readRecording(path));
    decoder.finish();
    const { devices, description = "" } = splitDeviceState(this.#tail);
    const described = JSON.parse(description).devices as object[];
    const sections = deviceSections(devices, parseVmDescription(description));
    this.devices = sections.map((section, i) => ({
      ...section,
      payload: devices.subarray(section.start, section.start + section.size),
      description: described[i]!,
    }));
  }

  override blockEntry({ name, usedLength }: { name: string; usedLength: number }): void {
    this.blocks.set(name, BigInt(usedLength));
  }

  // The recording was fed in one piece, so the device state comes in one.
  override deviceState(bytes: Uint8Array, at: number, length: number): void {
    this.#tail = bytes.subarray(at, at + length);
  }

  state(name: string, instance = 0): DescribedStructure {
    const device = this.devices.find((each) => each.name === name && each.instance === instance);
    return describeFields(device!.description, device!);
  }
}

/** Where each byte of a structure lies: the spans of its values and of its subsections' heads. */
function spans({ fields, subsections, offset, size }: DescribedStructure): [number, number][] {
  const found = fields.flatMap((field): [number, number][] => {
    if ("structure" in field) return spans(field.structure);
    if ("structures" in field) return field.structures.flatMap(spans);
    return [[field.offset, field.offset + field.size]];
  });
  for (const subsection of subsections) {
    const head = 6 + new TextEncoder().encode(subsection.name).length;
    found.push([subsection.offset, subsection.offset + head], ...spans(subsection));
  }
  found.sort(([a], [b]) => a - b);
  assertEquals(found.at(-1)?.[1] ?? offset, offset + size);
  return found;
}

for (const { path } of [...CAPTURES, ...MAPPED_CAPTURES]) {
  const skip = needsRecording(path);

  testUnless(skip, `describeFields has each byte of each device of ${path} in one field`, () => {
    const { devices } = new Recording(path);
    assert(devices.length > 30);
    for (const device of devices) {
      let at = 0;
      for (const [start, end] of spans(describeFields(device.description, device))) {
        assertEquals(start, at, device.name);
        at = end;
      }
      assertEquals(at, device.payload.length, device.name);
    }
  });

  testUnless(skip, `describeFields finds the processor of ${path} before its first step`, () => {
    // Vol. 3A of Intel's Software Developer's Manual, "Processor State After Reset".
    const cpu = new Recording(path).state("cpu");
    assertEquals(valueOf(cpu, "env.eip"), 0xfff0n);
    assertEquals(valueOf(cpu, "env.eflags"), 2n);
    assertEquals(valueOf(cpu, "env.cr[0]"), 0x6000_0010n);
    const code = structuresOf(cpu, "env.segs")[1]!;
    assertEquals([valueOf(code, "selector"), valueOf(code, "base")], [0xf000, 0xffff_0000n]);
  });

  testUnless(skip, `describeFields finds the sizes of the RAM blocks of ${path}`, () => {
    const recording = new Recording(path);
    const { blocks } = recording;
    const tables = subsectionOf(recording.state("fw_cfg"), "fw_cfg/acpi_mr");
    assertEquals(valueOf(tables, "table_mr_size"), blocks.get("/rom@etc/acpi/tables"));
    assertEquals(valueOf(tables, "linker_mr_size"), blocks.get("/rom@etc/table-loader"));
    // PC BIOSes find the memory above 16 MiB, in units of 64 KiB, in two bytes of the CMOS.
    const cmos = bytesOf(recording.state("mc146818rtc"), "cmos_data");
    const memory = (cmos[0x34]! | cmos[0x35]! << 8) * 65536 + 16 * 2 ** 20;
    assertEquals(BigInt(memory), blocks.get("pc.ram"));
  });

  testUnless(skip, `describeFields finds the devices of ${path} as they are after a reset`, () => {
    const recording = new Recording(path);
    // Vendor and device, little-endian as in PCI: 8086:29c0 is the host bridge of a Q35.
    for (
      const [device, structure, id] of [
        ["0000:00:00.0/mch", "parent_obj", "8680c029"],
        ["0000:00:1f.0/ICH9LPC", "d", "86801829"],
        ["0000:00:01.0/vga", "dev", "34121111"],
      ] as const
    ) {
      const pci = structureOf(recording.state(device), structure);
      assertEquals(valueOf(pci, "version_id"), 2);
      assertEquals(bytesOf(pci, "config[0]").subarray(0, 4).toHex(), id);
    }
    // All pins of an I/O APIC are masked, and the comparators of an HPET all ones.
    assertEquals(valuesOf(recording.state("ioapic"), "ioredtbl"), Array(24).fill(0x10000n));
    const timers = structuresOf(recording.state("hpet"), "timer");
    assertEquals(timers.map((timer) => valueOf(timer, "tn")), [0, 1, 2]);
    assertEquals(timers.map((timer) => valueOf(timer, "cmp")), Array(3).fill(2n ** 64n - 1n));
    assertEquals(timers.map((timer) => valueOf(timer, "qemu_timer")), Array(3).fill(-1n));
    // The AHCI of an ICH9 has six ports, which QEMU describes one by one.
    const ahci = structureOf(recording.state("0000:00:1f.2/ich9_ahci"), "ahci");
    assertEquals(valueOf(ahci, "ports"), 6);
    const ports = ahci.fields.filter(({ name }) => name === "dev");
    assertEquals(ports.map(({ index }) => index), [0, 1, 2, 3, 4, 5]);
    // The capture of a machine that was never started.
    const runState = bytesOf(recording.state("globalstate"), "runstate");
    assertEquals(new TextDecoder().decode(runState).replaceAll("\0", ""), "prelaunch");
  });

  testUnless(skip, `describeFields refuses each device of ${path} that was cut`, () => {
    const random = new Random(1);
    for (const { description, payload, ...section } of new Recording(path).devices) {
      const lengths = Array.from({ length: 10 }, () => random.below(payload.length));
      for (const length of [0, payload.length - 1, ...lengths]) {
        const cut = { ...section, payload: payload.subarray(0, length) };
        assertMismatch(() => describeFields(description, cut), section.name);
      }
      const longer = new Uint8Array(payload.length + 1);
      longer.set(payload);
      assertMismatch(
        () => describeFields(description, { ...section, payload: longer }),
        section.name,
      );
    }
  });
}

function assertMismatch(describe: () => unknown, device: string): void {
  const error = assertThrows(describe, DescriptionError);
  assertEquals([error.code, error.device], ["mismatch", device]);
}
