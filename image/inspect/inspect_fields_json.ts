/** The devices of an image with their fields, as JSON. */

import type { DeviceReport, FieldsReport } from "./inspect_fields.ts";

/**
 * Writes the tree of fields on one line: arrays may have thousands of elements. An integer of up to 32 bits is a number, one of 64 a text with decimal
 * digits (as in the JSON of protocol buffers: numbers of JSON are exact up to 2^53 only), bytes are a
 * text of hexadecimal digits, a pointer to nothing is null.
 *
 * @returns JSON; a device has `fields` and `subsections`, or else `bytes`, and `problem` says why
 */
export function fieldsReportJson(report: FieldsReport): string {
  const devices = report.devices.map(deviceObject);
  return JSON.stringify({ ...report, devices }, plainValue);
}

function deviceObject({ name, instance, version, payload, state, problem }: DeviceReport): object {
  return {
    name,
    instance,
    version,
    size: payload.length,
    ...(problem === undefined ? {} : { problem }),
    ...(state === undefined
      ? { bytes: payload }
      : { fields: state.fields, subsections: state.subsections }),
  };
}

function plainValue(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return `${value}`;
  return value instanceof Uint8Array ? value.toHex() : value;
}
