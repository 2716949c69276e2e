/** Reading command lines: the same rules for every command of the project. */

import { parseArgs } from "node:util";
import { nearest } from "./nearest.ts";

/** Arguments that cannot be understood. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** An option of a command. */
export interface Option {
  /** What stands after it, as the help shows it, for example `"BYTES"`; absent when nothing does. */
  readonly value?: string;
  /** What it means, for the help. */
  readonly help: string;
}

/** Options by their names, without dashes. */
export type Options = Readonly<Record<string, Option>>;

/** Options as they were written on the command line. */
export type OptionValues<O extends Options> = {
  readonly [Name in keyof O]?:
    | (O[Name] extends { readonly value: string } ? string : boolean)
    | undefined;
};

/**
 * Takes arguments apart.
 *
 * @param args what follows the command's name
 * @param options those that the command knows
 * @returns the options that were given, of one that was given twice the last, and all other arguments
 * @throws {UsageError} for an option that is unknown, lacks its value or takes none
 */
export function parseCommand<O extends Options>(
  args: readonly string[],
  options: O,
): { readonly values: OptionValues<O>; readonly positionals: readonly string[] } {
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(options).map(([name, { value }]) => [name, {
        type: value === undefined ? "boolean" as const : "string" as const,
      }]),
    ),
    strict: false, // what is wrong is told below, with what to do about it
    allowPositionals: true,
    tokens: true,
  });
  const values: Record<string, string | boolean> = {};
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind === "option") values[token.name] = optionValue(options, token);
  }
  return { values: values as OptionValues<O>, positionals };
}

/**
 * {@linkcode parseCommand} for a command that takes options alone.
 *
 * @throws {UsageError} also for any other argument
 */
export function parseOptions<O extends Options>(
  args: readonly string[],
  options: O,
): OptionValues<O> {
  const { values, positionals } = parseCommand(args, options);
  if (positionals.length > 0) throw new UsageError(`Unexpected argument: ${positionals[0]}`);
  return values;
}

/** What `parseArgs` says of an option. */
interface OptionToken {
  readonly name: string;
  /** With its dashes. */
  readonly rawName: string;
  readonly value?: string | undefined;
  /** Whether the value stands behind a sign of equality. */
  readonly inlineValue?: boolean | undefined;
}

function optionValue(
  options: Options,
  { name, rawName, value, inlineValue }: OptionToken,
): string | true {
  const option = Object.hasOwn(options, name) ? options[name] : undefined;
  if (option === undefined) {
    const meant = nearest(name, Object.keys(options));
    throw new UsageError(
      `Unknown option: ${rawName}${meant === undefined ? "" : `: did you mean --${meant}?`}`,
    );
  }
  if (option.value === undefined) {
    if (value === undefined) return true;
    throw new UsageError(`Option takes no value: ${rawName}=${value}: write ${rawName} alone`);
  }
  const example = `${rawName} ${option.value}`;
  if (value === undefined) throw new UsageError(`No value after ${rawName}: write ${example}`);
  if (inlineValue !== true && /^-./.test(value)) {
    throw new UsageError(
      `No value after ${rawName}: ${value}: write ${example}, or ${rawName}=${value} if that is meant`,
    );
  }
  return value;
}

/**
 * Reads a number of bytes with an optional suffix K, M or G (powers of 1024).
 *
 * @throws {UsageError} when it is none
 */
export function bytesArgument(flag: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMG]?)$/i.exec(text);
  if (match === null) {
    throw new UsageError(
      `No number of bytes after --${flag}: ${text}: write for example 512M or 1.5G`,
    );
  }
  const power = " KMG".indexOf((match[2] || " ").toUpperCase());
  return Math.floor(Number(match[1]) * 1024 ** power);
}

/** Most seconds that an option takes: a day. */
const MOST_SECONDS = 86_400;

/**
 * Reads a positive number of seconds and returns milliseconds.
 *
 * @throws {UsageError} when it is none
 */
export function secondsArgument(flag: string, text: string): number {
  if (Number(text) === 0) {
    throw new UsageError(`No time, use a number of seconds above 0, after --${flag}: ${text}`);
  }
  return waitArgument(flag, text);
}

/**
 * Reads a number of seconds, which may be 0, and returns milliseconds.
 *
 * @throws {UsageError} when it is none
 */
export function waitArgument(flag: string, text: string): number {
  const seconds = Number(text);
  if (text.trim() === "" || !(seconds >= 0 && seconds <= MOST_SECONDS)) {
    throw new UsageError(
      `No number of seconds up to ${MOST_SECONDS} after --${flag}: ${text}`,
    );
  }
  return Math.ceil(seconds * 1000);
}

/**
 * Reads a whole number, not negative.
 *
 * @throws {UsageError} when it is none
 */
export function countArgument(flag: string, text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count)) {
    throw new UsageError(`No whole number after --${flag}: ${text}`);
  }
  return count;
}

/**
 * Reads whole numbers, not negative, with commas between; none when the flag was not given.
 *
 * @throws {UsageError} when one is none
 */
export function countsArgument(flag: string, text: string | undefined): number[] {
  return (text?.split(",") ?? []).map((each) => countArgument(flag, each));
}

/**
 * Reads a whole number.
 *
 * @throws {UsageError} when it is none
 */
export function integerArgument(flag: string, text: string): number {
  if (!/^[+-]?\d{1,9}$/.test(text)) {
    throw new UsageError(`No whole number after --${flag}: ${text}`);
  }
  return Number(text);
}

/**
 * Reads one of several words.
 *
 * @throws {UsageError} when it is none of them
 */
export function choiceArgument<T extends string>(
  flag: string,
  text: string,
  choices: readonly T[],
): T {
  const choice = choices.find((each) => each === text);
  if (choice === undefined) {
    throw new UsageError(`Unknown --${flag}: ${text}: use ${choices.join(", ")}`);
  }
  return choice;
}
