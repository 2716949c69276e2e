import { assertEquals, assertThrows } from "@std/assert";
import { requirePlatform, UnsupportedPlatformError } from "../../ffi/platform.ts";

Deno.test("requirePlatform takes Linux on x86-64 and aarch64", () => {
  assertEquals(requirePlatform({ os: "linux", arch: "x86_64" }), "x86_64");
  assertEquals(requirePlatform({ os: "linux", arch: "aarch64" }), "aarch64");
});

for (const [os, arch] of [["darwin", "aarch64"], ["windows", "x86_64"], ["linux", "riscv64"]]) {
  Deno.test(`requirePlatform refuses ${os} on ${arch} and says what is needed`, () => {
    assertThrows(
      () => requirePlatform({ os: os!, arch: arch! }),
      UnsupportedPlatformError,
      `Unsupported platform: ${os} on ${arch}: postcopy needs Linux on x86-64 or aarch64`,
    );
  });
}
