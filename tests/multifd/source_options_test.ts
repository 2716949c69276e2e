import { assertEquals, assertThrows } from "@std/assert";
import type { Image } from "../../image/image.ts";
import { multifdSettings } from "../../server/multifd/multifd_settings.ts";
import { checkSourceOptions, uuidOf } from "../../server/source_options.ts";

const UUID = "a0b1c2d3-e4f5-4697-8879-6a5b4c3d2e1f";
const to = { transport: "tcp", host: "127.0.0.1", port: 1 } as const;

function image(uuid?: Uint8Array, xml?: string): Image {
  const configuration = { machine: "q35", ...uuid === undefined ? {} : { uuid } };
  return { configuration, libvirt: xml === undefined ? undefined : { xml } } as Image;
}

Deno.test("uuidOf finds what the stream or libvirt says of the machine, and nothing where nobody does", () => {
  const bytes = Uint8Array.fromHex(UUID.replaceAll("-", ""));
  assertEquals(uuidOf(image()), {});
  assertEquals(uuidOf(image(undefined, "<domain><name>a</name></domain>")), {});
  for (
    const each of [image(bytes), image(undefined, `<domain>\n<uuid>${UUID}</uuid></domain>`)]
  ) {
    assertEquals(multifdSettings({ channels: 1 }, uuidOf(each).uuid).uuid, bytes);
  }
});

Deno.test("multifdSettings prefers the UUID that the user says, and has zeros where nobody says one", () => {
  const said = multifdSettings({ channels: 1, uuid: UUID }, "00112233445566778899aabbccddeeff");
  assertEquals(said.uuid.toHex(), UUID.replaceAll("-", ""));
  assertEquals(multifdSettings({ channels: 1 }).uuid, new Uint8Array(16));
});

Deno.test("checkSourceOptions refuses postcopyAfter without multifd, and times that cannot be", () => {
  const multifd = { channels: 2 };
  for (const postcopyAfter of [0, 86_400_000, Infinity]) {
    checkSourceOptions({ to, multifd, postcopyAfter });
  }
  for (const postcopyAfter of [-1, NaN, 86_400_001]) {
    const check = () => checkSourceOptions({ to, multifd, postcopyAfter });
    assertThrows(check, RangeError, `: ${postcopyAfter}`);
  }
  assertThrows(() => checkSourceOptions({ to, postcopyAfter: 5 }), RangeError, "without multifd");
  const both = { to, multifd, compress: { method: "zlib" } } as const;
  assertThrows(() => checkSourceOptions(both), RangeError, "not both: 2 channels and zlib");
});
