/** An image with three devices of different kinds, and their descriptions. */

import { concat, deviceSection, makeCapture, PAGE, withDirectory } from "./captures.ts";

const CHANNEL = {
  vmsd_name: "channel",
  version: 2,
  fields: [{ name: "count", type: "int32", size: 4 }, { name: "on", type: "bool", size: 1 }],
};
/** A device with fields of every kind. */
export const PIT = {
  name: "i8254",
  instance_id: 0,
  vmsd_name: "i8254",
  version: 3,
  fields: [
    { name: "address", type: "uint64", size: 8 },
    { name: "channels", array_len: 3, type: "struct", struct: CHANNEL, size: 5 },
    { name: "expires", type: "timer", size: 8 },
    { name: "mask", array_len: 40, type: "uint8", size: 1 },
    { name: "name", type: "buffer", size: 8 },
    { name: "config", type: "buffer", size: 20 },
  ],
  subsections: [{
    vmsd_name: "i8254/khz",
    version: 1,
    fields: [{ name: "\u001b[31mkhz", type: "uint16", size: 2 }],
  }],
};
/** Its section's payload. */
export const PIT_STATE: Uint8Array = concat(
  Uint8Array.fromHex("00000000fee00900"),
  Uint8Array.fromHex("00000007010000000701fffffffe00"),
  Uint8Array.fromHex("ffffffffffffffff"),
  Uint8Array.from({ length: 40 }, (_, i) => i),
  new TextEncoder().encode("idle\0\0\0\0"),
  new Uint8Array(20).fill(0xee),
  Uint8Array.of(5, 9, ...new TextEncoder().encode("i8254/khz"), 0, 0, 0, 1, 0x12, 0x34),
);
/** Old-style: QEMU describes no fields of it. */
const SLIRP = {
  name: "slirp",
  instance_id: 1,
  size: 3,
  fields: [{ name: "data", size: 3, type: "buffer" }],
};
/** A device before the memory. */
export const EARLY = {
  name: "0000:00:02.0/virtio-mem",
  instance_id: 0,
  version: 1,
  fields: [{ name: "size", type: "uint16", size: 2 }],
};

/** The devices of an image. */
export interface Devices {
  readonly description?: string;
  readonly early?: Uint8Array;
  readonly devices: Uint8Array;
}

/** Sections of all three. */
export const SECTIONS: Devices = {
  early: deviceSection(3, EARLY.name, 1, Uint8Array.of(1, 0)),
  devices: concat(
    deviceSection(7, "i8254", 3, PIT_STATE),
    instanceOne(deviceSection(8, "slirp", 0, Uint8Array.of(1, 2, 3))),
  ),
};

/** Makes a section that of instance 1. */
export function instanceOne(section: Uint8Array): Uint8Array {
  section[6 + section[5]! + 3] = 1;
  return section;
}

/** The JSON that describes devices. */
export function describing(...devices: readonly object[]): string {
  return JSON.stringify({ page_size: PAGE, devices });
}

/** Runs with an image of devices and a RAM block `pc.ram`, and removes it. */
export async function withImage(
  shape: Devices,
  use: (path: string) => Promise<void>,
): Promise<void> {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const blocks = [{ name: "pc.ram", usedLength: 512 * PAGE }];
    await Deno.writeFile(path, makeCapture({ blocks, ...shape }, () => {}));
    await use(path);
  });
}

/** All three with their descriptions. */
export const DESCRIBED: Devices = { ...SECTIONS, description: describing(EARLY, PIT, SLIRP) };
