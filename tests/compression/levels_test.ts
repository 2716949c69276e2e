import { assertEquals, assertThrows } from "@std/assert";
import { CODEC_LIBRARIES } from "../../ffi/compression/codec.ts";
import {
  checkCompressionLevel,
  COMPRESSION_LEVELS,
  COMPRESSION_METHODS,
} from "../../migration/compression.ts";
import { levelsOf } from "./libraries.ts";

Deno.test("COMPRESSION_METHODS are those that there are libraries for", () => {
  assertEquals([...COMPRESSION_METHODS], Object.keys(CODEC_LIBRARIES));
});

for (const method of COMPRESSION_METHODS) {
  Deno.test(`checkCompressionLevel lets every level of ${method} through`, () => {
    for (const level of levelsOf(method)) checkCompressionLevel(method, level);
    checkCompressionLevel(method, COMPRESSION_LEVELS[method].default);
  });

  Deno.test(`checkCompressionLevel names a level that ${method} has not, and those it has`, () => {
    const { least, most } = COMPRESSION_LEVELS[method];
    for (const level of [least - 1, most + 1, 1.5, NaN, Infinity]) {
      assertThrows(
        () => checkCompressionLevel(method, level),
        RangeError,
        `Compression level of ${method} must be a whole number from ${least} to ${most}: ${level}`,
      );
    }
  });
}
