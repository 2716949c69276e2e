// deno-lint-ignore-file no-console -- a command
/** `workload-image FILE`: makes a saved workload guest for the source to serve. */

import {
  bytesArgument,
  choiceArgument,
  countArgument,
  parseCommand,
  UsageError,
} from "../../migration/command/arguments.ts";
import { formatBytes } from "../../migration/report/units.ts";
import { ExitCode } from "./command_line.ts";
import { writeWorkloadImage } from "../../workload/image.ts";
import { COMPRESSIBLE } from "../../workload/options.ts";

/**
 * Writes an image with what describes it beside it.
 *
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 */
export async function workloadImageCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseCommand(args, {
    size: { type: "string" },
    seed: { type: "string" },
    "zero-every": { type: "string" },
    compressible: { type: "string" },
  });
  const [path, extra] = positionals;
  if (path === undefined) throw new UsageError("No FILE given: say what to write");
  if (extra !== undefined) throw new UsageError(`One FILE at a time: ${extra}`);
  const length = bytesArgument("size", values.size ?? "512M");
  try {
    await writeWorkloadImage(path, {
      blocks: [{ name: "ram", length }],
      seed: countArgument("seed", values.seed ?? "1"),
      zeroEvery: countArgument("zero-every", values["zero-every"] ?? "4"),
      repeats: Number(choiceArgument("compressible", values.compressible ?? "1", COMPRESSIBLE)),
    });
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message) : error;
  }
  console.error(`Wrote ${path} (${formatBytes(length)}), ${path}.json and ${path}.devices`);
  return ExitCode.DONE;
}
