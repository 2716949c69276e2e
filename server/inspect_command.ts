// deno-lint-ignore-file no-console -- a command
/** `inspect IMAGE`. */

import { ExitCode, imageArgument, parseCommand } from "./command_line.ts";
import { ImageError, openImage } from "./image/image.ts";
import { formatImageReport, inspectImage } from "./inspect.ts";

/**
 * Prints what is in an image.
 *
 * @returns the exit code
 */
export async function inspectCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseCommand(args, { json: { type: "boolean" } });
  try {
    using image = await openImage(imageArgument(positionals));
    const report = await inspectImage(image);
    console.log(values.json ? JSON.stringify(report, undefined, 2) : formatImageReport(report));
    return ExitCode.DONE;
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    console.error(`postcopy: ${error.message}`);
    return ExitCode.BAD_IMAGE;
  }
}
