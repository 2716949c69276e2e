/** Devices of the platform whose state is registers alone: they are loaded, and nothing follows. */

import { bytes, type Description, description, type Devices } from "../../migration/device/mod.ts";

/** A device with registers. */
export interface PlainDevice {
  /** Name of its section. */
  readonly name: string;
  /** Tells devices of one name apart. */
  readonly instance: number;
  /** What the state holds. */
  readonly registers: Uint8Array;
}

/** Names as in QEMU's streams, and about as many bytes. */
export const PLAIN = {
  PROCESSORS: [["cpu_common", 8], ["cpu", 2900]],
  CLOCKS: [["timer", 24], ["kvmclock", 8], ["fw_cfg", 6]],
  LEGACY: [
    ["PCIHost", 4],
    ["dma", 80],
    ["mc146818rtc", 210],
    ["i8259", 16],
    ["hpet", 160],
    ["i8254", 90],
    ["pcspk", 2],
    ["serial", 30],
    ["ps2kbd", 290],
    ["ps2mouse", 270],
    ["pckbd", 9],
    ["port92", 1],
    ["acpi_build", 1],
  ],
} as const;

/** Makes one and adds it to the devices. */
export function addPlainDevice(
  devices: Devices,
  [name, size]: readonly [name: string, size: number],
  instance = 0,
): PlainDevice {
  const device: PlainDevice = { name, instance, registers: new Uint8Array(size) };
  const state: Description<PlainDevice> = description({
    name,
    version: 1,
    fields: { registers: bytes(size) },
  });
  devices.add({ name, instance, description: state, state: device });
  return device;
}
