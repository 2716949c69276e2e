/** Values of fields as text for a terminal. */

import type { FieldValue } from "../../migration/device/field_values.ts";
import { formatCount } from "../../migration/report/units.ts";

/** Bytes on a line. */
const BYTES_PER_ROW = 16;
/** Values of an array on a line. */
const VALUES_PER_ROW = 8;
/** Text, shorter than what it lies in. */
const TEXT = /^[\x20-\x7e]{3,}$/;

/** Writes one value that is not bytes. */
export function formatValue(type: string, value: FieldValue): string {
  if (value === null) return "null pointer";
  if (type === "timer" && value === -1n) return "not set";
  if (value instanceof Uint8Array) return hexOf(value);
  if (typeof value === "boolean" || value < 10) return `${value}`;
  // Addresses and registers are read in hexadecimal, sizes and times in decimal digits.
  return type.startsWith("int") || type === "timer"
    ? `${value}`
    : `0x${value.toString(16)} (${value})`;
}

/** Writes the values of an array; the first ones only when not all are asked for. */
export function formatValues(
  type: string,
  values: readonly FieldValue[],
  all: boolean,
): string[] {
  const texts = values.map((value) => formatElement(type, value));
  if (all) return rowsOf(texts);
  const [first] = texts;
  if (texts.length > 1 && texts.every((text) => text === first)) {
    return [`${formatCount(texts.length)} times ${first}`];
  }
  return [shorten(texts, VALUES_PER_ROW, " more")];
}

/** Writes a value that is bytes: as text too where it is one. */
export function formatBytesField(bytes: Uint8Array, all: boolean): string[] {
  const text = textIn(bytes);
  if (all) {
    const rows = hexRows(bytes).map(([, hex]) => hex!);
    return text === undefined ? rows : [text, ...rows];
  }
  if (text !== undefined) return [text];
  if (bytes.length > 1 && bytes.every((byte) => byte === bytes[0])) {
    return [`${formatCount(bytes.length)} times ${hexOf(bytes.subarray(0, 1))}`];
  }
  const pairs = Array.from(bytes.subarray(0, BYTES_PER_ROW), pair);
  const more = bytes.length - pairs.length;
  return [pairs.join(" ") + (more > 0 ? ` … ${formatCount(more)} more` : "")];
}

/** Writes bytes in rows: the offset of the first, and 16 of them in hexadecimal. */
export function hexRows(bytes: Uint8Array): string[][] {
  const rows: string[][] = [];
  for (let at = 0; at < bytes.length; at += BYTES_PER_ROW) {
    rows.push([`${at}`, hexOf(bytes.subarray(at, at + BYTES_PER_ROW))]);
  }
  return rows;
}

/** Writes a name from the image so that a terminal shows it and does nothing else. */
export function printable(name: string): string {
  return name.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => {
    return `\\u{${character.codePointAt(0)!.toString(16)}}`;
  });
}

function formatElement(type: string, value: FieldValue): string {
  const isNumber = typeof value === "number" || typeof value === "bigint";
  const unsigned = isNumber && value >= 10 && !type.startsWith("int") && type !== "timer";
  return unsigned ? `0x${value.toString(16)}` : formatValue(type, value);
}

function shorten(texts: readonly string[], count: number, unit: string): string {
  const more = texts.length - count;
  const shown = texts.slice(0, count).join(" ");
  return more > 0 ? `${shown} … ${formatCount(more)}${unit}` : shown;
}

function rowsOf(texts: readonly string[]): string[] {
  const rows: string[] = [];
  for (let at = 0; at < texts.length; at += VALUES_PER_ROW) {
    rows.push(texts.slice(at, at + VALUES_PER_ROW).join(" "));
  }
  return rows;
}

/** A text with zero bytes behind it, in quotes. */
function textIn(bytes: Uint8Array): string | undefined {
  const end = bytes.indexOf(0);
  const length = end < 0 ? bytes.length : end;
  if (!bytes.subarray(length).every((byte) => byte === 0)) return undefined;
  const text = String.fromCharCode(...bytes.subarray(0, Math.min(length, 4096)));
  if (length > text.length || !TEXT.test(text)) return undefined;
  const zeros = bytes.length - length;
  return zeros === 0 ? `"${text}"` : `"${text}" and ${formatCount(zeros)} times 00`;
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, pair).join(" ");
}

function pair(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
