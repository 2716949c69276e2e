import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../../migration/command/arguments.ts";
import {
  compressArgument,
  type CompressValues,
} from "../../../server/command/compress_arguments.ts";

Deno.test("compressArgument takes QEMU's defaults", () => {
  const expected = { method: "zlib", level: 1, threads: 8, wait: true } as const;
  assertEquals(compressArgument({ compress: "zlib" }), expected);
});

Deno.test("compressArgument takes what each option says", () => {
  const values = {
    compress: "zstd",
    "compress-level": "-7",
    "compress-threads": "255",
    "compress-wait-thread": "off",
  };
  const expected = { method: "zstd", level: -7, threads: 255, wait: false } as const;
  assertEquals(compressArgument(values), expected);
});

Deno.test("compressArgument compresses nothing unless it is told to", () => {
  assertEquals(compressArgument({}), undefined);
  assertEquals(compressArgument({ compress: "none" }), undefined);
});

const WRONG: readonly [CompressValues, string][] = [
  [{ compress: "lz4" }, "Unknown --compress: lz4: use zlib, zstd, none"],
  [{ compress: "zlib", "compress-level": "10" }, "from 0 to 9: 10"],
  [{ compress: "zlib", "compress-level": "-1" }, "from 0 to 9: -1"],
  [{ compress: "zstd", "compress-level": "20" }, "from -7 to 19: 20"],
  [{ compress: "zstd", "compress-level": "-8" }, "from -7 to 19: -8"],
  [{ compress: "zstd", "compress-level": "1.5" }, "No whole number after --compress-level: 1.5"],
  [{ compress: "zlib", "compress-threads": "0" }, "from 1 to 255: 0"],
  [{ compress: "zlib", "compress-threads": "256" }, "from 1 to 255: 256"],
  [{ compress: "zlib", "compress-wait-thread": "maybe" }, "use on, off"],
  [{ "compress-level": "5" }, "say --compress zlib or zstd too"],
  [{ compress: "none", "compress-threads": "4" }, "say --compress zlib or zstd too"],
];

for (const [values, message] of WRONG) {
  Deno.test(`compressArgument refuses ${JSON.stringify(values)}`, () => {
    assertThrows(() => compressArgument(values), UsageError, message);
  });
}
