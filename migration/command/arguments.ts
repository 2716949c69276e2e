/** Reading command lines: the same rules for every command of the project. */

import { parseArgs, type ParseArgsConfig } from "node:util";

/** Arguments that cannot be understood. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** `parseArgs` of node:util with positionals, its errors as {@linkcode UsageError}. */
export function parseCommand<T extends NonNullable<ParseArgsConfig["options"]>>(
  args: readonly string[],
  options: T,
): ReturnType<
  typeof parseArgs<{ args: string[]; options: T; allowPositionals: true; strict: true }>
> {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const unknown = /^Unknown option '([^']*)'/.exec(message)?.[1];
    throw new UsageError(unknown === undefined ? message : `Unknown option: ${unknown}`);
  }
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

/**
 * Reads a positive number of seconds and returns milliseconds.
 *
 * @throws {UsageError} when it is none
 */
export function secondsArgument(flag: string, text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0) || seconds > 86_400) {
    throw new UsageError(`No number of seconds between 0 and 86400 after --${flag}: ${text}`);
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
