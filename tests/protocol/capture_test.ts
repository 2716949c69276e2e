import { assertEquals, assertGreater } from "@std/assert";
import {
  type BlockEntry,
  type Command,
  type Configuration,
  deviceSections,
  IgnoreStream,
  parseVmDescription,
  splitDeviceState,
  StreamDecoder,
} from "../../migration/protocol/mod.ts";
import { readRecording } from "../support/fixtures.ts";
import { CAPTURES, MAPPED_CAPTURES } from "../support/recorded.ts";
import { needsRecording, testUnless } from "../support/skip.ts";

/** What a captured file holds besides pages. */
class Capture extends IgnoreStream {
  configurations: Configuration[] = [];
  commands: Command[] = [];
  blocks: BlockEntry[] = [];
  ram: number[] = [];
  mappedBytes = 0;
  pages = 0;
  tail: Uint8Array = new Uint8Array(0);

  constructor(recording: Uint8Array) {
    super();
    const decoder = new StreamDecoder(this);
    decoder.feed(recording);
    decoder.finish();
  }

  override configuration(configuration: Configuration): void {
    this.configurations.push(configuration);
  }
  override command(command: Command): void {
    this.commands.push(command);
  }
  override blockEntry(entry: BlockEntry): void {
    this.blocks.push(entry);
  }
  override sectionStart(id: number, _name: string, instance: number, version: number): void {
    this.ram = [id, instance, version];
  }
  override page(): void {
    this.pages++;
  }
  override zeroPage(): void {
    this.pages++;
  }
  override mappedRegion(_bytes: Uint8Array, _at: number, length: number): void {
    this.mappedBytes += length;
  }
  override deviceState(bytes: Uint8Array, at: number, length: number): void {
    // The recording was fed in one piece, so the device state comes in one.
    this.tail = bytes.subarray(at, at + length);
  }
}

const BLOCKS = [
  ["pc.ram", 0x400_0000],
  ["0000:00:01.0/vga.vram", 0x100_0000],
  ["/rom@etc/acpi/tables", 0x2_0000],
  ["pc.bios", 0x4_0000],
  ["0000:00:01.0/vga.rom", 0x1_0000],
  ["pc.rom", 0x2_0000],
  ["/rom@etc/table-loader", 0x1000],
  ["/rom@etc/acpi/rsdp", 0x1000],
] as const;

for (const { name, path, machine, ramSection, switchover } of [...CAPTURES, ...MAPPED_CAPTURES]) {
  const mapped = name.startsWith("mapped-ram");

  testUnless(needsRecording(path), `StreamDecoder tells what ${name} holds`, () => {
    const capture = new Capture(readRecording(path));
    assertEquals(
      capture.configurations,
      [{ machine, ...(mapped ? { capabilities: ["mapped-ram"] } : {}) }],
    );
    assertEquals(capture.ram, [ramSection ?? capture.ram[0]!, 0, 4]);
    assertEquals(
      capture.blocks.map(({ name, usedLength }) => [name, usedLength]).sort(),
      BLOCKS.map((block) => [...block]).sort(),
    );
    assertEquals(
      capture.commands.map(({ kind }) => kind),
      switchover ? ["switchover-start"] : [],
    );
    // A capture of a stopped guest has each page once; mapped-ram has none as records.
    const total = BLOCKS.reduce((sum, [, length]) => sum + length, 0);
    assertEquals(capture.pages, mapped ? 0 : total / 4096);
    assertEquals(capture.mappedBytes > total, mapped);
  });

  testUnless(needsRecording(path), `deviceSections agrees with the description of ${name}`, () => {
    const capture = new Capture(readRecording(path));
    const tail = splitDeviceState(capture.tail);
    const description = parseVmDescription(tail.description ?? "");
    const sections = deviceSections(tail.devices, description);
    assertEquals(
      sections.map(({ name, instance, version, size }) => ({ name, instance, version, size })),
      [...description.devices],
    );
    assertGreater(sections.length, 30);
    assertEquals(description.pageSize, 4096);
    // The search without a description is not misled by these devices.
    assertEquals(deviceSections(tail.devices), sections);
  });
}
