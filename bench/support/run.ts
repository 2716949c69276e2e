/** The frame of a benchmark's main module. */

import { type RawOptions, readOptions, UsageError } from "./options.ts";
import { print } from "./progress.ts";

/** A benchmark's command line. */
export interface BenchmarkCommand {
  /** Printed for `--help` and after a mistake. */
  readonly usage: string;
  /** Options with a value. */
  readonly valued: readonly string[];
  /** Options without. */
  readonly flags: readonly string[];
}

/**
 * Reads the command line and runs a benchmark. Exit codes: 0 when it ran (whether or not its targets
 * were met), 1 when it failed, 2 for a command line that cannot be read.
 *
 * @param main the benchmark
 */
export async function runBenchmark(
  command: BenchmarkCommand,
  main: (options: RawOptions) => Promise<void>,
): Promise<void> {
  try {
    const options = readOptions(Deno.args, command.valued, command.flags);
    if (options["help"]) return print(command.usage);
    await main(options);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    print(`${error.message}\n${command.usage}`);
    Deno.exit(2);
  }
}
