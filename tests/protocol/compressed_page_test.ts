import { deflateSync } from "node:zlib";
import { assertEquals, assertThrows } from "@std/assert";
import { inflatePage, ProtocolError } from "../../migration/protocol/mod.ts";
import { Random } from "../support/random.ts";

Deno.test("inflatePage gives the page that was deflated", () => {
  const page = new Random(1).bytes(4096).fill(0, 1000);
  const deflated = deflateSync(page);
  const bytes = new Uint8Array(10 + deflated.length + 10);
  bytes.set(deflated, 10);
  const inflated = inflatePage(bytes, 10, deflated.length, 4096);
  assertEquals(inflated, page);
});

Deno.test("inflatePage refuses a stream of more or less than a page", () => {
  for (const length of [0, 4095, 4097, 100_000_000]) {
    const deflated = new Uint8Array(deflateSync(new Uint8Array(length)));
    const error = assertThrows(
      () => inflatePage(deflated, 0, deflated.length, 4096, 77),
      ProtocolError,
    );
    assertEquals([error.code, error.offset], ["bad-page", 77]);
  }
});

Deno.test("inflatePage refuses a stream that is cut short or is none", () => {
  const deflated = new Uint8Array(deflateSync(new Random(2).bytes(4096)));
  assertThrows(() => inflatePage(deflated, 0, deflated.length - 100, 4096), ProtocolError);
  assertThrows(() => inflatePage(new Uint8Array(100), 0, 100, 4096), ProtocolError);
});
