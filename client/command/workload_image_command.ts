/** `workload-image FILE`: makes a saved workload guest for the source to serve. */

import { warnLine } from "../../migration/command/output.ts";
import {
  bytesArgument,
  choiceArgument,
  countArgument,
  type Options,
  parseCommand,
  UsageError,
} from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { formatBytes } from "../../migration/report/units.ts";
import { ExitCode, exitCodeOf } from "./command_line.ts";
import { writeWorkloadImage } from "../../workload/image.ts";
import { COMPRESSIBLE } from "../../workload/options.ts";

const OPTIONS = {
  size: { value: "BYTES", help: "of its memory (suffix K, M or G); default 512M" },
  seed: { value: "N", help: "what its content is made from; default 1" },
  "zero-every": { value: "N", help: "one page in N is zero; 0 for none; default 4" },
  compressible: {
    value: "N",
    help:
      "the other pages compress to about one N-th: 1 (default, not at all), 2, 4, 8, 16, 32 or 64",
  },
  overwrite: { help: "replace files of these names" },
} as const satisfies Options;

/** The command `workload-image`. */
export const WORKLOAD_IMAGE: Command = {
  synopsis: "FILE [options]",
  about: [
    "Makes a saved workload guest, for serve of the source side: FILE, FILE.json and FILE.devices.",
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]: "done",
    [ExitCode.FAILED]: "a file is there already",
    [ExitCode.USAGE]: "wrong usage",
  },
  run: workloadImageCommand,
  exitCodeOf,
};

/**
 * Writes an image with what describes it beside it.
 *
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {SyscallError} `EEXIST` when a file is there already
 */
export async function workloadImageCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseCommand(args, OPTIONS);
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
      overwrite: values.overwrite,
    });
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message) : error;
  }
  warnLine(`Wrote ${path} (${formatBytes(length)}), ${path}.json and ${path}.devices`);
  return ExitCode.DONE;
}
