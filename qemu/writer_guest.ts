/**
 * Builds the boot sector of the guest that writes at a given rate, and reads what it prints: the
 * reference that a workload guest's writers are measured beside.
 *
 * The guest fills its working set with pseudo-random numbers, then writes one word of so many pages a
 * second, each page chosen at random, and reports every tenth of a second what it did and how long
 * its writes took.
 *
 * @module
 */
import {
  bootableSector,
  GUEST_PAGE_SIZE,
  RESERVED_ABOVE,
  WORKING_SET_ADDRESS,
} from "./bare_machine.ts";
import {
  SLOW_BIN,
  WRITE_BINS,
  WRITER_RECORD,
  WRITER_RECORD_WORDS,
  writerCode,
} from "./writer_code.ts";

/** What the guest does. */
export interface WriterOptions {
  /** Bytes of the working set, a multiple of 4096, at most 2.5 GiB: what PC machines have below 4 GiB. */
  workingSet: number;
  /** Pages written a second; 0 for a guest that only ticks. */
  rate: number;
  /** Whether the guest fills the working set first; default true. Else it holds what it was started with. */
  fills?: boolean;
}

/** Ticks of the timer's input a second, on every PC. */
const TIMER_HZ = 1_193_182;
/** Ticks a second of a guest with much to write or nothing. */
const TICK_HZ = 1000;
/** The timer's slowest divisor, below its 16 bits. */
const MOST_DIVISOR = 0xffff;
const REPORTS_PER_SECOND = 10;
const MOST_WORKING_SET = 2.5 * 2 ** 30;

/** How the guest's timer is set. */
export interface Pace {
  /** Of the timer's 1193182 Hz. */
  readonly divisor: number;
  /** Pages written in a tick. */
  readonly perTick: number;
  /** Pages written a second, as near to what was asked for as the timer allows. */
  readonly rate: number;
}

/** Chooses the timer's divisor and the pages of a tick. */
export function paceFor(rate: number): Pace {
  const perTick = rate === 0 ? 0 : Math.max(1, Math.round(rate / TICK_HZ));
  const hertz = rate === 0 ? TICK_HZ : rate / perTick;
  const divisor = Math.min(MOST_DIVISOR, Math.round(TIMER_HZ / hertz));
  return { divisor, perTick, rate: perTick * TIMER_HZ / divisor };
}

/** Gives the MiB of memory that a machine with this guest needs. */
export function writerMemoryMiB(options: WriterOptions): number {
  return Math.ceil((WORKING_SET_ADDRESS + options.workingSet + RESERVED_ABOVE) / 2 ** 20);
}

/**
 * Builds the 512-byte boot sector.
 *
 * @throws {RangeError} When an option is out of range.
 */
export function buildWriterSector(options: WriterOptions): Uint8Array<ArrayBuffer> {
  const { workingSet, rate, fills = true } = options;
  if (!(workingSet > 0 && workingSet <= MOST_WORKING_SET) || workingSet % GUEST_PAGE_SIZE !== 0) {
    throw new RangeError(`Working set must be pages of 4096 bytes up to 2.5 GiB: ${workingSet}`);
  }
  if (!(rate === 0 || rate >= 20 && rate <= 1e8)) {
    throw new RangeError(`Rate must be 0 or from 20 to 1e8 pages a second: ${rate}`);
  }
  const { divisor, perTick } = paceFor(rate);
  return bootableSector(writerCode(fills), {
    pages: workingSet / GUEST_PAGE_SIZE,
    divisor,
    perTick,
    reportEvery: Math.max(1, Math.round(TIMER_HZ / divisor / REPORTS_PER_SECOND)),
  }).sector;
}

/**
 * What one line of the guest's says, all of it since the line before. Sums that the guest kept would
 * go wrong in a move: a QEMU source under TCG now and then loses what its guest writes.
 */
export interface WriterReport {
  /** Timer ticks. */
  readonly ticks: number;
  /** Pages written. */
  readonly writes: number;
  /** Its time-stamp counter at the report; it stands still while the machine is stopped. */
  readonly tsc: number;
  /** Most TSC ticks between two timer ticks. */
  readonly longest: number;
  /** TSC ticks of the slow writes together: those of {@linkcode SLOW_BIN} and above. */
  readonly slow: number;
  /** Bin n counts the writes that took [2^n, 2^(n+1)) TSC ticks. */
  readonly histogram: readonly number[];
}

/**
 * Reads what a line from the guest's serial port says.
 *
 * @param line One line, without its end.
 * @returns Undefined when it says something else, or is cut.
 */
export function parseWriterLine(line: string): WriterReport | undefined {
  const match = /^w((?: [0-9A-F]{8})+)$/.exec(line);
  if (match === null) return undefined;
  const words = match[1]!.trim().split(" ").map((text) => Number.parseInt(text, 16));
  if (words.length !== WRITER_RECORD_WORDS) return undefined;
  const at = (index: number): number => words[index]!;
  return {
    ticks: at(WRITER_RECORD.ticks),
    writes: at(WRITER_RECORD.writes),
    tsc: at(WRITER_RECORD.tscHigh) * 2 ** 32 + at(WRITER_RECORD.tscLow),
    longest: at(WRITER_RECORD.longest),
    slow: at(WRITER_RECORD.slowHigh) * 2 ** 32 + at(WRITER_RECORD.slowLow),
    histogram: words.slice(WRITER_RECORD.histogram, WRITER_RECORD.histogram + WRITE_BINS),
  };
}

/** Slow writes of a guest. */
export interface SlowWrites {
  /** How many. */
  readonly count: number;
  /** Their mean, TSC ticks. */
  readonly mean: number;
  /** TSC ticks that 99 of 100 of them stay below: the upper edge of a bin. */
  readonly p99: number;
}

/** Gives the slow writes of some reports; undefined when there was none. */
export function slowWrites(reports: readonly WriterReport[]): SlowWrites | undefined {
  const bins = new Array<number>(WRITE_BINS).fill(0);
  let ticks = 0;
  for (const { slow, histogram } of reports) {
    ticks += slow;
    for (let bin = SLOW_BIN; bin < WRITE_BINS; bin++) bins[bin]! += histogram[bin]!;
  }
  const count = bins.reduce((sum, each) => sum + each, 0);
  if (count === 0) return undefined;
  let left = Math.ceil(count * 0.99);
  const bin = bins.findIndex((each) => (left -= each) <= 0);
  return { count, mean: ticks / count, p99: 2 ** (bin + 1) };
}
