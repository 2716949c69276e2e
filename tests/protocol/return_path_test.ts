import { assertEquals } from "@std/assert";
import {
  encodeName,
  MAX_PAGE_REQUEST_BYTES,
  ReturnPathDecoder,
  ReturnPathEncoder,
  writePageRequest,
} from "../../migration/protocol/mod.ts";
import { hexBytes } from "../support/hex.ts";
import { EventLog } from "./event_log.ts";

Deno.test("writePageRequest writes what ReturnPathDecoder reads", () => {
  const bytes = new Uint8Array(2 * MAX_PAGE_REQUEST_BYTES);
  let at = writePageRequest(bytes, 0, 0x12_3456_7000, 4096, encodeName("x".repeat(255)));
  assertEquals(at, MAX_PAGE_REQUEST_BYTES);
  at = writePageRequest(bytes, at, 0x1000, 0x20_0000);
  const log = new EventLog();
  const encoder = new ReturnPathEncoder();
  new ReturnPathDecoder(log).feed(bytes.subarray(0, at));
  new ReturnPathDecoder(encoder).feed(bytes.subarray(0, at));
  const block = "x".repeat(255);
  assertEquals(log.lines, [
    `requestPages ${block} ${0x12_3456_7000} 4096`,
    `requestPages ${block} 4096 ${0x20_0000}`,
  ]);
  assertEquals(encoder.take(), bytes.subarray(0, at));
});

Deno.test("ReturnPathEncoder names the block only when it is another one", () => {
  const encoder = new ReturnPathEncoder();
  encoder.requestPages("a", 0, 4096);
  encoder.requestPages("a", 4096, 4096);
  encoder.requestPages("b", 0, 4096);
  assertEquals(
    encoder.take(),
    hexBytes(`0003 000e 0000000000000000 00001000 01 "a"
      0004 000c 0000000000001000 00001000  0003 000e 0000000000000000 00001000 01 "b"`),
  );
});

Deno.test("ReturnPathDecoder reads the extensions that ReturnPathEncoder lists", () => {
  const encoder = new ReturnPathEncoder();
  encoder.extensions(["zstd", "other"]);
  encoder.extensions([]);
  const bytes = encoder.take();
  assertEquals(bytes, hexBytes(`5043 000b 04 "zstd" 05 "other"  5043 0000`));
  const log = new EventLog();
  new ReturnPathDecoder(log).feed(bytes);
  assertEquals(log.lines, ["extensions zstd other", "extensions"]);
});
