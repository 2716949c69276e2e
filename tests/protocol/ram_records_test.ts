import { assertEquals } from "@std/assert";
import {
  encodeName,
  MAX_RECORD_HEADER_BYTES,
  RamDecoder,
  RECORD,
  writeRecordHeader,
} from "../../migration/protocol/mod.ts";
import { hexBytes } from "../support/hex.ts";
import { EventLog } from "./event_log.ts";

Deno.test("RamDecoder keeps its block across the end of a section", () => {
  const log = new EventLog();
  const decoder = new RamDecoder(log);
  decoder.feed(hexBytes(`0000000000001002 06 "pc.ram" 00 0000000000000010 0000000000002022 00`));
  decoder.finish();
  assertEquals(log.lines, ["block pc.ram", "zeroPage 4096 0", "endOfSection", "zeroPage 8192 0"]);
});

Deno.test("writeRecordHeader writes what RamDecoder reads", () => {
  const bytes = new Uint8Array(2 * (MAX_RECORD_HEADER_BYTES + 4096));
  const name = encodeName("x".repeat(255));
  let at = writeRecordHeader(bytes, 0, 0x12_3456_7000, RECORD.PAGE, name);
  assertEquals(at, MAX_RECORD_HEADER_BYTES);
  at = writeRecordHeader(bytes, at + 4096, 0x1000, RECORD.ZERO);
  const log = new EventLog();
  new RamDecoder(log).feed(bytes.subarray(0, at + 1));
  assertEquals(log.lines.map((line) => line.split(" ").slice(0, 2).join(" ")), [
    `block ${"x".repeat(255)}`,
    `page ${0x12_3456_7000}`,
    "zeroPage 4096",
  ]);
});
