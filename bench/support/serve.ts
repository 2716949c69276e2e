/** The `serve` command as a child process. */

import type { Mode } from "../../server/sending/mode.ts";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";
import { denoCommand, spawn } from "./bench_process.ts";
import { endedChildrenCpuSeconds } from "./cpu_time.ts";

const MAIN = new URL("../../server/main.ts", import.meta.url);

/** What to serve. */
export interface ServeOptions {
  /** Path of the image. */
  readonly image: string;
  /** Where the destination listens. */
  readonly to: string;
  /** Who sends requested pages. */
  readonly mode: Mode;
  /** Bytes a second of the background stream; 0 for no limit. */
  readonly maxBandwidth: number;
  /** Credentials, as for `--tls-creds`; absent: in clear. */
  readonly tls?: string | undefined;
  /** Words before the command: a CPU placement, a network namespace. */
  readonly prefix?: readonly string[];
  /** Further words of the command line. */
  readonly args?: readonly string[];
}

/** What came of it. */
export interface Served {
  /** What `serve --json` printed. */
  readonly source: SourceStatistics;
  /** CPU seconds of the process, its start included; right when no other child ended meanwhile. */
  readonly sourceCpu: number;
}

/**
 * Serves an image until the destination has all of it.
 *
 * @throws {Error} when it fails, with what it said
 */
export async function runServe(options: ServeOptions): Promise<Served> {
  const words = [
    ...options.prefix ?? [],
    ...denoCommand(MAIN, [
      ...["serve", options.image, "--to", options.to, "--mode", options.mode],
      ...["--max-postcopy-bandwidth", String(options.maxBandwidth), "--json"],
      ...options.tls === undefined ? [] : ["--tls-creds", options.tls],
      ...options.args ?? [],
    ]),
  ];
  const before = await endedChildrenCpuSeconds();
  const child = spawn(words, { stdin: "null", stdout: "piped", stderr: "piped" });
  const [{ code, success }, output, messages] = await Promise.all([
    child.status,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const sourceCpu = await endedChildrenCpuSeconds() - before;
  if (!success) throw new Error(`serve ended with code ${code}: ${messages.trim()}`);
  return { source: JSON.parse(output) as SourceStatistics, sourceCpu };
}
