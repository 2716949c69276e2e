import { assertThrows } from "@std/assert";
import {
  IgnoreStream,
  RamDecoder,
  ReturnPathEncoder,
  StreamEncoder,
} from "../../migration/protocol/mod.ts";

Deno.test("encoders refuse values that their fields cannot hold", () => {
  const encoder = new StreamEncoder();
  const page = new Uint8Array(4096);
  const cases: [string, () => void][] = [
    ["a page before any block", () => encoder.page(0, page, 0)],
    ["an empty name", () => (encoder.block(""), encoder.page(0, page, 0))],
    ["a name of 256 bytes", () => (encoder.block("x".repeat(256)), encoder.page(0, page, 0))],
    ["half a page's offset", () => (encoder.block("a"), encoder.page(2048, page, 0))],
    ["a page outside its array", () => (encoder.block("a"), encoder.page(0, page, 1))],
    ["an offset of 2^53", () => (encoder.block("a"), encoder.zeroPage(2 ** 53, 0))],
    ["a negative offset", () => (encoder.block("a"), encoder.zeroPage(-4096, 0))],
    ["a package of 4 GiB", () => encoder.packaged(2 ** 32)],
    ["a discard of no range", () => encoder.command({ kind: "discard", block: "a", ranges: [] })],
    ["an empty machine", () => encoder.configuration({ machine: "" })],
    ["a short UUID", () => encoder.configuration({ machine: "q", uuid: new Uint8Array(15) })],
    ["pages of 2^30", () => encoder.configuration({ machine: "q", targetPageBits: 30 })],
    ["pages of 3000 bytes", () => new RamDecoder(new IgnoreStream(), { targetPageSize: 3000 })],
    ["a request of no bytes", () => new ReturnPathEncoder().requestPages("a", 0, 0)],
  ];
  for (const [what, encode] of cases) assertThrows(encode, RangeError, "Cannot", what);
});
