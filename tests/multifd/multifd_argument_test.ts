import { assertEquals, assertThrows } from "@std/assert";
import { multifdArgument } from "../../client/command/command_line.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { UsageError } from "../../migration/command/arguments.ts";
import "../support/native.ts";

Deno.test("multifdArgument takes as many channels as a QEMU can have, and none by default", () => {
  assertEquals(multifdArgument(undefined), {});
  for (const count of [1, 4, 255]) {
    assertEquals(multifdArgument(`${count}`), { multifdChannels: count });
  }
});

Deno.test("multifdArgument refuses other numbers, and names them", () => {
  for (const text of ["0", "256", "-1", "two", ""]) {
    assertThrows(() => multifdArgument(text), UsageError, text);
  }
});

Deno.test("ImageReceiver refuses a number of multifd channels that no QEMU has, and makes no file", async () => {
  const directory = await Deno.makeTempDir();
  for (const multifdChannels of [0, -1, 1.5, 256]) {
    const make = () => new ImageReceiver({ path: `${directory}/image`, multifdChannels });
    assertThrows(make, RangeError, `1 to 255: ${multifdChannels}`);
  }
  assertEquals([...Deno.readDirSync(directory)], []);
  await Deno.remove(directory);
});
