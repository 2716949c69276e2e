import { assertEquals, assertThrows } from "@std/assert";
import {
  type BlockEntry,
  type Command,
  type Configuration,
  discardCommands,
  hasCapability,
  IgnoreStream,
  StreamDecoder,
  StreamEncoder,
  withoutCapability,
} from "../../migration/protocol/mod.ts";
import { hexBytes } from "../support/hex.ts";

/** Collects what the tests below ask for. */
class Collect extends IgnoreStream {
  configurations: Configuration[] = [];
  commands: Command[] = [];
  entries: BlockEntry[] = [];
  names: string[] = [];
  override configuration(configuration: Configuration): void {
    this.configurations.push(configuration);
  }
  override command(command: Command): void {
    this.commands.push(command);
  }
  override blockEntry(entry: BlockEntry): void {
    this.entries.push(entry);
  }
  override block(name: string): void {
    this.names.push(name);
  }
}

function collected(text: string): Collect {
  const collect = new Collect();
  const decoder = new StreamDecoder(collect);
  decoder.feed(hexBytes(text));
  decoder.finish();
  return collect;
}

Deno.test("StreamEncoder writes the commands of a postcopy as QEMU does", () => {
  const encoder = new StreamEncoder();
  encoder.header();
  encoder.configuration({ machine: "pc-q35-7.2" });
  encoder.command({ kind: "open-return-path" });
  encoder.command({ kind: "ping", value: 1 });
  encoder.command({ kind: "advise", ram: { pageSizeSummary: 0x20_1000, targetPageSize: 4096 } });
  encoder.command({ kind: "discard", block: "pc.ram", ranges: [{ start: 0, length: 0x400_0000 }] });
  encoder.packaged(10);
  const expected = hexBytes(`5145564d 00000003 07 0000000a "pc-q35-7.2"
    08 0001 0000  08 0002 0004 00000001  08 0003 0010 0000000000201000 0000000000001000
    08 0006 0019 00 06 "pc.ram" 00 0000000000000000 0000000004000000  08 0007 0004 0000000a`);
  assertEquals(encoder.take(), expected);
});

Deno.test("StreamDecoder tells the configuration's subsections", () => {
  const { configurations } = collected(`5145564d 00000003 07 00000004 "virt"
    05 1e "configuration/target-page-bits" 00000001 0000000e
    05 1a "configuration/capabilities" 00000001 00000001 0a "mapped-ram"
    05 12 "configuration/uuid" 00000001 000102030405060708090a0b0c0d0e0f`);
  assertEquals(configurations, [{
    machine: "virt",
    targetPageBits: 14,
    capabilities: ["mapped-ram"],
    uuid: new Uint8Array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
  }]);
});

Deno.test("StreamDecoder refuses target pages of another size than it was made for", () => {
  const decoder = new StreamDecoder(new Collect(), { targetPageSize: 4096 });
  const text = `5145564d 00000003 07 00000004 "virt"
    05 1e "configuration/target-page-bits" 00000001 0000000e 00`;
  assertThrows(() => decoder.feed(hexBytes(text)), Error, "expected target pages of 4096 bytes");
});

Deno.test("StreamDecoder recognises which blocks of the list have a page size", () => {
  const head = `5145564d 00000003 01 00000002 03 "ram" 00000000 00000004`;
  const huge = `03 "mem" 0000000000200000 0000000000200000`;
  const small = `04 "bios" 0000000000040000`;
  const end = `0000000000000010 7e 00000002`;
  const expected = [
    { name: "mem", usedLength: 0x20_0000, pageSize: 0x20_0000 },
    { name: "bios", usedLength: 0x4_0000 },
  ];
  assertEquals(collected(`${head} 0000000000240004 ${huge} ${small} ${end}`).entries, expected);
  assertEquals(
    collected(`${head} 0000000000240004 ${small} ${huge} 0000000000000200 ${end}`).entries,
    expected.toReversed(),
  );
});

Deno.test("StreamDecoder decodes a resumed stream without header", () => {
  const collect = new Collect();
  const decoder = new StreamDecoder(collect, { resumed: true, ramSectionId: 2 });
  decoder.feed(hexBytes(`08 000a 0007 06 "pc.ram" 08 0009 0000
    02 00000002 0000000000001002 06 "pc.ram" 00 0000000000000010 7e 00000002`));
  decoder.finish();
  assertEquals(collect.commands, [
    { kind: "receive-bitmap", block: "pc.ram" },
    { kind: "resume" },
  ]);
  assertEquals(collect.names, ["pc.ram"]);
});

Deno.test("discardCommands puts at most twelve ranges in a command", () => {
  const ranges = Array.from({ length: 25 }, (_, i) => ({ start: i * 8192, length: 4096 }));
  const commands = discardCommands("pc.ram", ranges);
  assertEquals(commands.map((command) => command.ranges.length), [12, 12, 1]);
  assertEquals(commands.flatMap((command) => command.ranges), ranges);
  assertEquals(discardCommands("pc.ram", []), []);
});

Deno.test("withoutCapability drops one capability and leaves no empty list", () => {
  const configuration = { machine: "q", capabilities: ["mapped-ram"] };
  assertEquals(hasCapability(configuration, "mapped-ram"), true);
  assertEquals(withoutCapability(configuration, "mapped-ram"), { machine: "q" });
  assertEquals(withoutCapability(configuration, "x-ignore-shared"), configuration);
});
