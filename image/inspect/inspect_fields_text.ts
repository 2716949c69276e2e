/** The devices of an image with their fields, as text for a terminal. */

import type { DescribedField, DescribedStructure } from "../../migration/device/described_state.ts";
import { formatTable } from "../../migration/report/table.ts";
import { formatCount } from "../../migration/report/units.ts";
import type { DeviceReport, FieldsReport } from "./inspect_fields.ts";
import { formatBytesField, formatValue, formatValues, hexRows, printable } from "./value_text.ts";

/** How much is shown. */
export interface FieldsTextOptions {
  /** Show all elements and all bytes; default the first ones, and equal elements once. */
  readonly all?: boolean;
}

/** Different elements of an array of structures that are shown without `all`. */
const SHOWN_ELEMENTS = 4;
/** Bytes of a state without fields that are shown without `all`. */
const SHOWN_BYTES = 256;

const HEADER = ["offset", "field", "type", "value"];

/** Offset, name, type, value. */
type Row = readonly string[];

/**
 * Writes a report for a terminal. What comes from the image is written so that it cannot move the
 * cursor or change colours.
 *
 * @returns lines, without a line end after the last
 */
export function formatFieldsReport(report: FieldsReport, options: FieldsTextOptions = {}): string {
  const paragraphs = report.devices.map((device) => formatDevice(device, options.all ?? false));
  if (report.problem !== undefined) {
    paragraphs.unshift([`No fields, only bytes: ${printable(report.problem)}`]);
  }
  return paragraphs.map((lines) => lines.join("\n")).join("\n\n");
}

function formatDevice(device: DeviceReport, all: boolean): string[] {
  const { name, instance, version, payload, state, problem } = device;
  const lines = [
    `${printable(name)}, instance ${instance}, version ${version}, ${
      formatCount(payload.length)
    } bytes`,
  ];
  if (problem !== undefined) lines.push(`  Only bytes: ${printable(problem)}`);
  if (state === undefined) {
    const shown = all ? payload : payload.subarray(0, SHOWN_BYTES);
    lines.push(...formatTable(hexRows(shown), { align: ["right", "left"], indent: "  " }));
    const more = payload.length - shown.length;
    if (more > 0) lines.push(`  ${formatCount(more)} more bytes, --all shows them`);
    return lines;
  }
  const rows: Row[] = [];
  addStructure(rows, { payload, all }, state, "");
  if (rows.length === 0) return lines;
  const align = ["right", "left", "left", "left"] as const;
  lines.push(...formatTable(rows, { header: HEADER, align, indent: "  " }));
  return lines;
}

interface Shown {
  readonly payload: Uint8Array;
  readonly all: boolean;
}

function addStructure(
  rows: Row[],
  shown: Shown,
  { fields, subsections }: DescribedStructure,
  indent: string,
): void {
  for (const field of fields) addField(rows, shown, field, indent);
  for (const subsection of subsections) {
    const { name, version, offset } = subsection;
    rows.push([`${offset}`, indent + printable(name), "subsection", `version ${version}`]);
    addStructure(rows, shown, subsection, `${indent}  `);
  }
}

function addField(rows: Row[], shown: Shown, field: DescribedField, indent: string): void {
  const { offset, index } = field;
  const name = indent + printable(field.name) + (index === undefined ? "" : `[${index}]`);
  const type = printable(field.type);
  if ("value" in field) {
    const { value } = field;
    const lines = value instanceof Uint8Array
      ? formatBytesField(value, shown.all)
      : [formatValue(field.type, value)];
    addLines(rows, [`${offset}`, name, type], lines);
  } else if ("values" in field) {
    const { values } = field;
    const lines = formatValues(field.type, values, shown.all);
    addLines(rows, [`${offset}`, name, `${type}[${values.length}]`], lines);
  } else if ("structure" in field) {
    rows.push([`${offset}`, name, type, describe(field.structure)]);
    addStructure(rows, shown, field.structure, `${indent}  `);
  } else {
    const { structures } = field;
    const what = structures[0] === undefined ? "" : describe(structures[0]);
    rows.push([`${offset}`, name, `${type}[${structures.length}]`, what]);
    addElements(rows, shown, structures, index ?? 0, `${indent}  `);
  }
}

function addLines(rows: Row[], head: Row, lines: readonly string[]): void {
  rows.push([...head, lines[0] ?? ""]);
  for (const line of lines.slice(1)) rows.push(["", "", "", line]);
}

function addElements(
  rows: Row[],
  shown: Shown,
  elements: readonly DescribedStructure[],
  firstIndex: number,
  indent: string,
): void {
  let shownElements = 0;
  for (let at = 0; at < elements.length;) {
    const first = elements[at]!;
    if (!shown.all && shownElements++ === SHOWN_ELEMENTS) {
      const more = formatCount(elements.length - at);
      rows.push([`${first.offset}`, `${indent}[...]`, "", `${more} more, --all shows them`]);
      return;
    }
    let next = at + 1;
    while (!shown.all && next < elements.length && isEqual(shown.payload, first, elements[next]!)) {
      next++;
    }
    const last = next - at === 1 ? "" : `-${firstIndex + next - 1}`;
    const equal = next - at === 1 ? "" : `${formatCount(next - at)} equal elements`;
    rows.push([`${first.offset}`, `${indent}[${firstIndex + at}${last}]`, "", equal]);
    addStructure(rows, shown, first, `${indent}  `);
    at = next;
  }
}

function isEqual(
  payload: Uint8Array,
  one: DescribedStructure,
  other: DescribedStructure,
): boolean {
  if (one.size !== other.size) return false;
  for (let i = 0; i < one.size; i++) {
    if (payload[one.offset + i] !== payload[other.offset + i]) return false;
  }
  return true;
}

function describe({ name, version }: DescribedStructure): string {
  return version === undefined ? printable(name) : `${printable(name)}, version ${version}`;
}
