import { assertEquals, assertLess } from "@std/assert";
import { skipReason, testUnless } from "../support/skip.ts";
import { npmPackagesReady } from "../../tools/zstd.ts";

const reason = await npmPackagesReady()
  ? undefined
  : skipReason("missing package", "zstd-napi is not built, run: deno task setup");

testUnless(reason, "zstd-napi returns a page as it was, from fewer bytes", async () => {
  const { default: zstd } = await import("zstd-napi/binding.js");
  const page = new TextEncoder().encode("page ".repeat(1000)).subarray(0, 4096);
  const compressed = new Uint8Array(8192);
  const length = new zstd.CCtx().compress(compressed, page, 1);
  assertLess(length, 1024);
  const restored = new Uint8Array(4096);
  assertEquals(new zstd.DCtx().decompress(restored, compressed.subarray(0, length)), 4096);
  assertEquals(restored, page);
});
