import "../../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../../migration/command/arguments.ts";
import { multifdArgument, type MultifdValues } from "../../../server/command/multifd_arguments.ts";
import { outgoingArguments } from "../../../server/command/outgoing_arguments.ts";
import { serveCommand } from "../../../server/command/serve_command.ts";

const UUID = "a0b1c2d3-e4f5-4697-8879-6a5b4c3d2e1f";

Deno.test("multifdArgument opens no channel unless it is told to, and compresses nothing", () => {
  assertEquals(multifdArgument({}), undefined);
  assertEquals(multifdArgument({ "multifd-channels": "4" }), { channels: 4, compression: "none" });
});

Deno.test("multifdArgument takes what each option says", () => {
  const values = { "multifd-channels": "255", "multifd-uuid": UUID };
  assertEquals(
    multifdArgument({ ...values, "multifd-compression": "zstd", "multifd-zstd-level": "-7" }),
    { channels: 255, compression: "zstd", level: -7, uuid: UUID },
  );
  assertEquals(
    multifdArgument({ ...values, "multifd-compression": "zlib", "multifd-zlib-level": "9" }),
    { channels: 255, compression: "zlib", level: 9, uuid: UUID },
  );
});

Deno.test("multifdArgument takes what QEMU's property is at the destination", () => {
  for (const [said, flushAfterEachSection] of [["on", true], ["off", false]] as const) {
    const values = { "multifd-channels": "2", "multifd-flush-after-each-section": said };
    assertEquals(multifdArgument(values), {
      channels: 2,
      compression: "none",
      flushAfterEachSection,
    });
  }
});

const FOUR = { "multifd-channels": "4" };
const WRONG: readonly [MultifdValues, string][] = [
  [{ "multifd-channels": "0" }, "1 to 255: 0"],
  [{ "multifd-channels": "256" }, "1 to 255: 256"],
  [{ "multifd-channels": "many" }, "No whole number after --multifd-channels: many"],
  [{ "multifd-compression": "zstd" }, "say how many with --multifd-channels too"],
  [{ "multifd-uuid": UUID }, "say how many with --multifd-channels too"],
  [{ ...FOUR, "multifd-compression": "qpl" }, "Unknown --multifd-compression: qpl"],
  [
    { ...FOUR, "multifd-zlib-level": "1" },
    "--multifd-zlib-level 1 without --multifd-compression zlib: say that too",
  ],
  [
    { ...FOUR, "multifd-compression": "zlib", "multifd-zlib-level": "10" },
    "Compression level of zlib must be a whole number from 0 to 9: 10",
  ],
  [{ ...FOUR, "multifd-compression": "zlib", "multifd-zstd-level": "1" }, "zstd-level 1 without"],
  [{ ...FOUR, "multifd-flush-after-each-section": "yes" }, "use on, off"],
  [{ ...FOUR, "multifd-uuid": "a0b1" }, "UUID is not 32 hexadecimal digits"],
];
for (const [values, message] of WRONG) {
  Deno.test(`multifdArgument refuses ${JSON.stringify(values)}`, () => {
    assertThrows(() => multifdArgument(values), UsageError, message);
  });
}

Deno.test("outgoingArguments refuses channels of multifd beside threads that compress", () => {
  assertThrows(
    () => outgoingArguments({ to: "tcp:a:1", ...FOUR, compress: "zstd" }),
    UsageError,
    "Both --compress zstd and --multifd-channels 4 given: compress by --multifd-compression zstd",
  );
});

Deno.test("serve refuses --postcopy-after without channels of multifd", async () => {
  const args = ["image", "--to", "tcp:127.0.0.1:1", "--postcopy-after", "5"];
  const error = await serveCommand(args, "postcopy").catch((error) => error);
  assertEquals(error instanceof UsageError, true);
  assertEquals(error.message.includes("--postcopy-after 5 without --multifd-channels"), true);
});
