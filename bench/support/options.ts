/** Command lines of the benchmarks. */

import { parseArgs } from "node:util";
import { CPU_PLACEMENTS, type CpuPlacement } from "./cpu_placement.ts";

/** A command line that cannot be read; the message says what to write. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** Machine-readable reason. */
  readonly code = "USAGE";
}

/** Options as written: name and value, or true for one without a value. */
export type RawOptions = Readonly<Record<string, string | boolean | undefined>>;

/**
 * Reads a command line.
 *
 * @param args the words
 * @param valued options with a value
 * @param flags options without; `help` is always one
 * @throws {UsageError} for anything else
 */
export function readOptions(
  args: readonly string[],
  valued: readonly string[],
  flags: readonly string[] = [],
): RawOptions {
  const options: Record<string, { type: "string" | "boolean" }> = {};
  for (const name of valued) options[name] = { type: "string" };
  for (const name of [...flags, "help"]) options[name] = { type: "boolean" };
  try {
    return parseArgs({ args: [...args], options, strict: true }).values as RawOptions;
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/**
 * Reads a whole number above zero.
 *
 * @throws {UsageError} when it is none
 */
export function countOption(options: RawOptions, name: string, otherwise: number): number {
  const text = options[name];
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new UsageError(`--${name} takes a whole number above zero: ${text}`);
}

/**
 * Reads whole numbers above zero, separated by commas.
 *
 * @throws {UsageError} when one is none
 */
export function countsOption(
  options: RawOptions,
  name: string,
  otherwise: readonly number[],
): readonly number[] {
  const text = options[name];
  if (text === undefined) return otherwise;
  return String(text).split(",").map((each) => countOption({ [name]: each }, name, 0));
}

const SIZE_UNITS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/**
 * Reads a size such as `512M` (also K and G, powers of 1024; without a letter, bytes).
 *
 * @returns bytes, a multiple of 4096
 * @throws {UsageError} when it is none
 */
export function sizeOption(options: RawOptions, name: string, otherwise: number): number {
  const text = options[name];
  if (text === undefined) return otherwise;
  const match = /^(\d+)([KMG]?)$/.exec(String(text));
  const bytes = match === null ? NaN : Number(match[1]) * SIZE_UNITS[match[2]!]!;
  if (bytes > 0 && bytes % 4096 === 0 && Number.isSafeInteger(bytes)) return bytes;
  throw new UsageError(`--${name} takes a size such as 512M, a multiple of 4 KiB: ${text}`);
}

/**
 * Reads a list of words separated by commas.
 *
 * @param known the words there are
 * @throws {UsageError} for any other word
 */
export function listOption<T extends string>(
  options: RawOptions,
  name: string,
  known: readonly T[],
  otherwise: readonly T[],
): readonly T[] {
  const text = options[name];
  if (text === undefined) return otherwise;
  return String(text).split(",").map((word) => {
    const found = known.find((each) => each === word);
    if (found !== undefined) return found;
    throw new UsageError(`--${name} takes ${known.join(", ")} separated by commas: ${word}`);
  });
}

/**
 * Reads one word.
 *
 * @param known the words there are; the first is the default
 * @throws {UsageError} for any other
 */
export function wordOption<const T extends string>(
  options: RawOptions,
  name: string,
  known: readonly [T, ...T[]],
): T {
  const word = options[name];
  if (word === undefined) return known[0];
  const found = known.find((each) => each === word);
  if (found !== undefined) return found;
  throw new UsageError(`--${name} takes ${known.join(" or ")}: ${word}`);
}

/** Reads `--placement`. */
export function placementOption(
  options: RawOptions,
  otherwise: readonly CpuPlacement[],
): readonly CpuPlacement[] {
  return listOption(options, "placement", CPU_PLACEMENTS, otherwise);
}
