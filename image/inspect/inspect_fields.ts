/** What `inspect IMAGE --fields` finds out: the devices of an image with their fields and values. */

import type { DescribedStructure } from "../../migration/device/described_state.ts";
import { describeFields } from "../../migration/device/described_fields.ts";
import { DescriptionError } from "../../migration/device/description_error.ts";
import {
  type DeviceSection,
  deviceSections,
  parseVmDescription,
  ProtocolError,
  type VmDescription,
} from "../../migration/protocol/mod.ts";
import type { Image, ImageKind } from "../image.ts";

/** The devices of an image. */
export interface FieldsReport {
  /** The file's name. */
  readonly image: string;
  /** The file's format. */
  readonly kind: ImageKind;
  /** Versioned machine type. */
  readonly machine: string;
  /** Why no device's fields are known, when the image has no description that can be read. */
  readonly problem?: string;
  /** Devices in the order of the stream: those before memory, then those after. */
  readonly devices: readonly DeviceReport[];
}

/** A device in a {@linkcode FieldsReport}. */
export interface DeviceReport {
  /** Name of its section. */
  readonly name: string;
  /** Tells devices of one name apart. */
  readonly instance: number;
  /** Version of its state. */
  readonly version: number;
  /** Its section without head and footer. */
  readonly payload: Uint8Array;
  /** The fields; absent when they are not known. */
  readonly state?: DescribedStructure;
  /** Why they are not, when this device is described. */
  readonly problem?: string;
}

/** Which devices are wanted. */
export interface DeviceChoice {
  /** Name, as the stream has it. */
  readonly name: string;
  /** Instance; default all of that name. */
  readonly instance?: number | undefined;
}

/**
 * Gathers the devices of an image with their fields.
 *
 * @param image an open image
 * @param choice only these; default all
 */
export function inspectFields(image: Image, choice?: DeviceChoice): FieldsReport {
  const json = image.description;
  const { path, kind, machine } = image;
  const head = { image: path, kind, machine };
  if (json === undefined) {
    const problem = "the image does not describe its devices";
    return { ...head, problem, devices: devicesOf(image, choice) };
  }
  try {
    const description = parseVmDescription(json);
    const described = byDevice(json);
    const devices = devicesOf(image, choice, description)
      .map((device) => withFields(device, described.get(keyOf(device.name, device.instance))));
    return { ...head, devices };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const problem = `the image's description of its devices cannot be read: expected ` +
      `${error.expected}, found: ${error.found}`;
    return { ...head, problem, devices: devicesOf(image, choice) };
  }
}

function devicesOf(
  image: Image,
  choice: DeviceChoice | undefined,
  description?: VmDescription,
): DeviceReport[] {
  return [image.earlySections, image.deviceState].flatMap((bytes) =>
    deviceSections(bytes, description).filter((section) => isChosen(section, choice))
      .map(({ name, instance, version, start, size }) => {
        return { name, instance, version, payload: bytes.subarray(start, start + size) };
      })
  );
}

function isChosen({ name, instance }: DeviceSection, choice: DeviceChoice | undefined): boolean {
  if (choice === undefined) return true;
  return name === choice.name && (choice.instance ?? instance) === instance;
}

function withFields(device: DeviceReport, description: unknown): DeviceReport {
  if (description === undefined) return { ...device, problem: "it is not described" };
  try {
    return { ...device, state: describeFields(description, device) };
  } catch (error) {
    if (!(error instanceof DescriptionError)) throw error;
    return { ...device, problem: error.message };
  }
}

/** The descriptions of devices in a description that was found to be one. */
function byDevice(json: string): Map<string, unknown> {
  const { devices } = JSON.parse(json) as { devices: { name: string; instance_id?: number }[] };
  return new Map(devices.map((device) => [keyOf(device.name, device.instance_id ?? 0), device]));
}

function keyOf(name: string, instance: number): string {
  return `${name} ${instance}`;
}
