/** What a workload guest does with its memory. */

import { REPEATS } from "./test_pattern.ts";

/** In which order a thread touches pages. */
export type AccessPattern =
  /** Any page at any time. */
  | "random"
  /** Ascending, over and over. */
  | "sequential"
  /** Each page once, in random order; the thread ends with the last. */
  | "once";

/** The access patterns by name. */
export const ACCESS_PATTERNS: readonly AccessPattern[] = ["random", "sequential", "once"];

/** What a command line may say after `--compressible`: how often the words of a page repeat. */
export const COMPRESSIBLE: readonly string[] = REPEATS.map(String);

/** Settings of a {@linkcode WorkloadGuest}; all have defaults. */
export interface WorkloadOptions {
  /** Threads, default 2. */
  readonly threads?: number;
  /** Order of accesses, default `"random"`. */
  readonly pattern?: AccessPattern;
  /**
   * True to write: each thread then has pages of its own (page modulo threads), which it reads,
   * checks and changes. False, the default, to read: every thread reads every page, except with
   * `"once"`, where each page is read by one.
   */
  readonly write?: boolean;
  /** Most accesses of one thread in a second; 0, the default, sets no limit. */
  readonly rate?: number;
  /** CPUs to pin the threads to, in turn; default none. */
  readonly cpus?: readonly number[];
  /** Accesses after which a thread ends; 0, the default, sets no limit. */
  readonly accesses?: number;
  /** True to end all threads when each page was touched by any of them; default false. */
  readonly untilTouched?: boolean;
  /**
   * A first touch that takes this many nanoseconds or more waited for its page and its latency is
   * recorded; default 5000. An access to a page in place takes well below 1000.
   */
  readonly waitThreshold?: number;
  /** Latencies kept one by one for each thread, for exact percentiles; default 2^20, 8 bytes each. */
  readonly samples?: number;
  /** Seed that the image must have been made with; default any. */
  readonly seed?: number | undefined;
}

/** {@linkcode WorkloadOptions} with nothing left open. */
export type WorkloadSettings = Required<WorkloadOptions>;

/**
 * Fills in defaults.
 *
 * @throws {RangeError} for a number that is none or out of its range
 */
export function workloadSettings(options: WorkloadOptions): WorkloadSettings {
  return {
    threads: inRange("Threads", options.threads ?? 2, 1, 1024),
    pattern: options.pattern ?? "random",
    write: options.write ?? false,
    rate: inRange("Accesses per second", options.rate ?? 0, 0, 1e9),
    cpus: (options.cpus ?? []).map((cpu) => inRange("CPU", cpu, 0, 1023)),
    accesses: inRange("Accesses", options.accesses ?? 0, 0, Number.MAX_SAFE_INTEGER),
    untilTouched: options.untilTouched ?? false,
    waitThreshold: inRange("Wait threshold", options.waitThreshold ?? 5000, 0, 1e12),
    samples: inRange("Samples", options.samples ?? 2 ** 20, 0, 2 ** 30),
    seed: options.seed,
  };
}

function inRange(what: string, value: number, from: number, to: number): number {
  if (Number.isInteger(value) && value >= from && value <= to) return value;
  throw new RangeError(`${what} must be a whole number from ${from} to ${to}: ${value}`);
}
