/**
 * The recordings of real QEMU that the tests read: those of the versions that they know figures of,
 * whether they are there or not, and those that were made here of other versions.
 *
 * @module
 */

import { listRecordings } from "../../tools/recordings.ts";

/** A file that QEMU wrote. */
export interface RecordedCapture {
  /** Its name without `.bin.zst`. */
  readonly name: string;
  /** For {@linkcode readRecording}. */
  readonly path: string;
  /** The machine's full name. */
  readonly machine: string;
  /** Number of the RAM section; undefined for a version whose is not known here. */
  readonly ramSection: number | undefined;
  /** Whether it has the command that tells of the switchover, as machines have from 10.0 on. */
  readonly switchover: boolean;
}

/** A postcopy migration over two channels. */
export interface RecordedWire {
  /** Its directory. */
  readonly directory: string;
  /** Whether its machine is of 10.0 or later. */
  readonly since10: boolean;
}

const OLD_MACHINE = 72;

/** Names of one kind: the known ones first, then others that are there. */
function namesOf(known: readonly string[], pattern: RegExp): string[] {
  const others = listRecordings().map((name) => name.replace(/\.bin\.zst$/, ""))
    .filter((name) => pattern.test(name) && !known.includes(name));
  return [...known, ...others.sort()];
}

function captureOf(name: string): RecordedCapture {
  const [, version, old] = /-qemu(\d+)(-machine72)?$/.exec(name)!;
  const machine = old === undefined ? Number(version) : OLD_MACHINE;
  return {
    name,
    path: `${name}.bin.zst`,
    machine: `pc-q35-${Math.floor(machine / 10)}.${machine % 10}`,
    ramSection: version === "72" ? 2 : Number(version) >= 100 ? 1 : undefined,
    switchover: machine >= 100,
  };
}

/** Streams, each of a machine before its processor's first step. */
export const CAPTURES: readonly RecordedCapture[] = namesOf([
  ...["capture-qemu72", "capture-qemu100", "capture-qemu111", "capture-qemu111-machine72"],
], /^capture-/).map(captureOf);

/** The same in mapped-ram. */
export const MAPPED_CAPTURES: readonly RecordedCapture[] = namesOf(
  ["mapped-ram-qemu111"],
  /^mapped-ram-/,
).map(captureOf);

/** Whole migrations. */
export const WIRES: readonly RecordedWire[] = namesOf(
  ["wire-qemu72-to-72", "wire-qemu72-to-111", "wire-qemu111-to-111"],
  /^wire-qemu\d+-to-\d+$/,
).map((directory) => {
  const [from, to] = directory.match(/\d+/g)!.map(Number);
  // Between versions the machine is the old one.
  return { directory, since10: from! === to! && from! >= 100 };
});

/** Directories of migrations that were cut and resumed. */
export const RECOVERIES: readonly string[] = namesOf(
  ["wire-qemu72-recovery", "wire-qemu111-recovery"],
  /^wire-qemu\d+-recovery$/,
);
