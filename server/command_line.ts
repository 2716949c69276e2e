/** What the commands of the source side share: exit codes, arguments, errors for people. */

import { parseArgs, type ParseArgsConfig } from "node:util";

/** Exit codes of `server/main.ts`. */
export const ExitCode = {
  DONE: 0,
  FAILED: 1,
  USAGE: 2,
  BAD_IMAGE: 3,
  UNREACHABLE: 4,
  INTERRUPTED: 130,
} as const;

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
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/**
 * Returns the one IMAGE that a command takes.
 *
 * @throws {UsageError} when there is none, or more than one
 */
export function imageArgument(positionals: readonly string[]): string {
  const [image, extra] = positionals;
  if (image === undefined) throw new UsageError("No IMAGE given");
  if (extra !== undefined) throw new UsageError(`One IMAGE at a time: ${extra}`);
  return image;
}

/**
 * Reads a number of bytes with an optional suffix K, M or G (powers of 1024).
 *
 * @throws {UsageError} when it is none
 */
export function bytesArgument(flag: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMG]?)$/i.exec(text);
  if (match === null) throw new UsageError(`No number of bytes after --${flag}: ${text}`);
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
