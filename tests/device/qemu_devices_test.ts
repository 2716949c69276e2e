/** Device state that real QEMU saved, in our descriptions. */
import { assertEquals } from "@std/assert";
import { type Description, Devices, newState } from "../../migration/device/mod.ts";
import type { State } from "../../migration/device/structure.ts";
import {
  type DeviceSection,
  deviceSections,
  IgnoreStream,
  parseVmDescription,
  splitDeviceState,
  StreamDecoder,
} from "../../migration/protocol/mod.ts";
import { findRecording } from "../../tools/recordings.ts";
import { readRecording } from "../support/fixtures.ts";
import { CAPTURES } from "../support/recorded.ts";
import { needsRecording, testUnless } from "../support/skip.ts";
import { DMA, I8254, MC146818RTC, QEMU_DEVICES } from "./qemu_devices.ts";
import { recordedDescription, type RecordedDevice } from "./recorded_description.ts";

const PATHS = CAPTURES.filter(({ name }) => !name.endsWith("-machine72")).map(({ path }) => path);

/** A recording's device state with the stream's description of it. */
interface RecordedState {
  readonly bytes: Uint8Array;
  readonly sections: readonly DeviceSection[];
  readonly devices: readonly RecordedDevice[];
}

class Tail extends IgnoreStream {
  bytes: Uint8Array = new Uint8Array(0);

  // The recording is fed in one piece, so the device state comes in one.
  override deviceState(bytes: Uint8Array, at: number, length: number): void {
    this.bytes = bytes.slice(at, at + length);
  }
}

function recordedState(path: string): RecordedState {
  const tail = new Tail();
  const decoder = new StreamDecoder(tail);
  decoder.feed(readRecording(path));
  decoder.finish();
  const { devices: bytes, description = "" } = splitDeviceState(tail.bytes);
  return {
    bytes,
    sections: deviceSections(bytes, parseVmDescription(description)),
    devices: JSON.parse(description).devices,
  };
}

/** Sections one after the other, numbered from 0 as ours are: QEMU counts what it does not save. */
function renumbered(bytes: Uint8Array, sections: readonly DeviceSection[]): Uint8Array {
  const parts = sections.map(({ name, start, size }, id) => {
    const head = 6 + name.length + 8;
    const section = bytes.slice(start - head, start + size + 5);
    section.set([0, 0, 0, id], 1);
    section.set([0, 0, 0, id], section.length - 4);
    return section;
  });
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

/** The sections of our devices of QEMU, in their order. */
function ownSections({ bytes, sections }: RecordedState): Uint8Array {
  return renumbered(
    bytes,
    QEMU_DEVICES.map((ours) =>
      sections.find(({ name, instance }) => name === ours.name && instance === ours.instance)!
    ),
  );
}

function ourDevices(): { devices: Devices; states: State[] } {
  const devices = new Devices();
  const states = QEMU_DEVICES.map((device) => {
    const state = newState(device.description);
    devices.add({ ...device, state });
    return state;
  });
  return { devices, states };
}

for (const path of PATHS) {
  testUnless(needsRecording(path), `Devices load and save what QEMU saved, ${path}`, () => {
    const saved = ownSections(recordedState(path));
    const { devices } = ourDevices();
    devices.load(saved);
    assertEquals(devices.save(), saved);
  });

  testUnless(
    needsRecording(path),
    `Devices load and save all devices of a stream by its own description, ${path}`,
    () => {
      const { bytes, sections, devices: recorded } = recordedState(path);
      const devices = new Devices();
      for (const device of recorded) {
        const description: Description<State> = recordedDescription(device);
        const { name, instance_id: instance } = device;
        devices.add({ name, instance, description, state: newState(description) });
      }
      devices.load(bytes);
      assertEquals(devices.save(), renumbered(bytes, sections));
    },
  );

  testUnless(needsRecording(path), `Devices.describe says what QEMU says, ${path}`, () => {
    const state = recordedState(path);
    const { devices } = ourDevices();
    devices.load(ownSections(state));
    const ours = JSON.parse(devices.describe(4096));
    const theirs = QEMU_DEVICES.map((each) =>
      state.devices.find(({ name, instance_id }) =>
        name === each.name && instance_id === each.instance
      )!
    );
    assertEquals(ours, { page_size: 4096, devices: theirs.map(withoutOwnTypes) });
  });
}

/** QEMU has a type of its own for the eight bytes of a timer. */
function withoutOwnTypes(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, each) => key === "type" && each === "timer" ? "int64" : each),
  );
}

const NEWEST = PATHS.findLast((path) => findRecording(path) !== undefined) ?? PATHS[0]!;
testUnless(needsRecording(NEWEST), "Devices.load gives the values that a PC has", () => {
  const { devices, states } = ourDevices();
  devices.load(ownSections(recordedState(NEWEST)));
  const state = <S>(description: Description<S>) =>
    states[QEMU_DEVICES.findIndex((each) => each.description === description)] as S;
  // The BIOS programs channel 0 of the timer chip to its longest period, 18.2 Hz, in mode 2 or 3.
  const { channels } = state(I8254);
  assertEquals([channels[0]!.count, channels.length], [0x10000, 3]);
  // Bytes 0x34 and 0x35 of the clock's memory: 64 KiB units of RAM above 16 MiB, here 48 MiB of 64.
  const { cmos_data: cmos } = state(MC146818RTC);
  assertEquals(cmos[0x34]! + 256 * cmos[0x35]!, 48 * 16);
  assertEquals(state(DMA).regs.length, 4);
});
