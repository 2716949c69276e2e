/** Results as JSON in bench/results, one file a benchmark, replaced by each run. */

import type { Machine } from "./machine.ts";

/** What every result file holds besides its own rows. */
export interface ResultHeader {
  /** Name of the benchmark and of its file. */
  readonly benchmark: string;
  /** When it ended, ISO 8601. */
  readonly date: string;
  /** Its command line. */
  readonly arguments: readonly string[];
  /** Where it ran. */
  readonly machine: Machine;
}

/** Returns where the results of a benchmark lie. */
export function resultsPath(benchmark: string): URL {
  return new URL(`../results/${benchmark}.json`, import.meta.url);
}

/**
 * Writes the results of a benchmark.
 *
 * @param content rows and whatever else belongs beside them, as JSON
 * @returns where they lie
 */
export async function writeResults(
  benchmark: string,
  machine: Machine,
  content: Readonly<Record<string, unknown>>,
): Promise<URL> {
  const header: ResultHeader = {
    benchmark,
    date: new Date().toISOString(),
    arguments: Deno.args,
    machine,
  };
  const path = resultsPath(benchmark);
  await Deno.mkdir(new URL(".", path), { recursive: true });
  await Deno.writeTextFile(path, JSON.stringify({ ...header, ...content }, null, 1) + "\n");
  return path;
}
