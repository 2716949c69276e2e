import { assertEquals, assertThrows } from "@std/assert";
import { decompressThreadsArgument } from "../../client/command/command_line.ts";
import { UsageError } from "../../migration/command/arguments.ts";

Deno.test("decompressThreadsArgument gives what was said, or QEMU's 2", () => {
  assertEquals([undefined, "0", "255"].map(decompressThreadsArgument), [2, 0, 255]);
});

Deno.test("decompressThreadsArgument refuses what is no number of threads", () => {
  const most = "Decompression threads must be a whole number from 0 to 255: 256";
  assertThrows(() => decompressThreadsArgument("256"), UsageError, most);
  for (const text of ["", "-1", "two", "1.5"]) {
    const message = `No whole number after --decompress-threads: ${text}`;
    assertThrows(() => decompressThreadsArgument(text), UsageError, message);
  }
});
