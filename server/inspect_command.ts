// deno-lint-ignore-file no-console -- a command
/** `inspect IMAGE`. */

import { parseCommand } from "../migration/command/arguments.ts";
import { ExitCode, imageArgument } from "./command_line.ts";
import { openImage } from "./image/image.ts";
import { formatImageReport, inspectImage } from "./inspect.ts";

/**
 * Prints what is in an image.
 *
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {ImageError} for an image that cannot be used
 */
export async function inspectCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseCommand(args, { json: { type: "boolean" } });
  using image = await openImage(imageArgument(positionals));
  const report = await inspectImage(image);
  console.log(values.json ? JSON.stringify(report, undefined, 2) : formatImageReport(report));
  return ExitCode.DONE;
}
