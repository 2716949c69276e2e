import { assertEquals, assertLess } from "@std/assert";
import { openZstdNapi } from "../../ffi/compression/zstd_napi.ts";
import { COMPRESSION_LEVEL } from "../../ffi/compression/zstd_frame.ts";
import { skipReason, testUnless } from "../support/skip.ts";
import { npmPackagesReady } from "../../tools/zstd.ts";

const reason = await npmPackagesReady()
  ? undefined
  : skipReason("missing package", "zstd-napi is not built, run: deno task setup");

testUnless(reason, "zstd-napi returns a page as it was, from fewer bytes", () => {
  const { CCtx, DCtx } = openZstdNapi();
  const page = new TextEncoder().encode("page ".repeat(1000)).subarray(0, 4096);
  const compressed = new Uint8Array(8192);
  const context = new CCtx();
  context.setParameter(COMPRESSION_LEVEL, 1);
  const length = context.compress2(compressed, page);
  assertLess(length, 1024);
  const restored = new Uint8Array(4096);
  assertEquals(new DCtx().decompress(restored, compressed.subarray(0, length)), 4096);
  assertEquals(restored, page);
});
