/** What bench:multifd measures: who moves what to whom, and how. */

import type { CpuPlacement } from "../support/cpu_placement.ts";
import type { Link } from "../support/link.ts";

/** Who moves the memory to whom. */
export const PAIRS = ["ours", "qemu", "serve-qemu", "qemu-ours"] as const;

/** One of {@linkcode PAIRS}. */
export type Pair = typeof PAIRS[number];

/** Pairs in words, for tables. */
export const PAIR_TITLES: Readonly<Record<Pair, string>> = {
  ours: "ours to ours",
  qemu: "QEMU to QEMU",
  "serve-qemu": "serve to QEMU",
  "qemu-ours": "QEMU to ours",
};

/** How pages are compressed. */
export const COMPRESSIONS = ["none", "zstd"] as const;

/** One of {@linkcode COMPRESSIONS}. */
export type Compression = typeof COMPRESSIONS[number];

/** What the guest does meanwhile. */
export const GUESTS = ["rest", "writer"] as const;

/** One of {@linkcode GUESTS}. */
export type Guest = typeof GUESTS[number];

/** Bytes that the writer dirties a second, as a share of the link's rate. */
export const WRITER_SHARE = 0.1;

/** One way to move the memory. */
export interface Point {
  readonly channels: number;
  readonly compression: Compression;
  readonly guest: Guest;
}

/** One row of the table. */
export function formatPoint({ channels, compression, guest }: Point): string {
  const way = compression === "none" ? "plain" : compression;
  return `${channels} x ${way}, ${guest === "rest" ? "at rest" : "with a writer"}`;
}

/** All ways, the guests and compressions apart, so that channels stand below each other. */
export function points(
  channels: readonly number[],
  compressions: readonly Compression[],
  guests: readonly Guest[],
): Point[] {
  return guests.flatMap((guest) =>
    compressions.flatMap((compression) =>
      channels.map((count) => ({ channels: count, compression, guest }))
    )
  );
}

/** Whether a pair can be measured so: an image has no guest that writes. */
export function measures(pair: Pair, { guest }: Point): boolean {
  return pair !== "serve-qemu" || guest === "rest";
}

/** What is moved, and where. */
export interface Move extends Point {
  readonly link: Link;
  readonly placement: CpuPlacement;
  /** File of the guest's memory, which a QEMU sees too. */
  readonly content: string;
  /** Bytes of it. */
  readonly size: number;
  /** Pages that the guest writes a second; 0 at rest. */
  readonly rate: number;
  /** Whether every byte is compared at the end. */
  readonly compares: boolean;
}

/** How it went. */
export interface MoveFigures {
  /** Bytes of the guest's memory a second, from the first page until the destination has confirmed the end. */
  readonly rate: number;
  /** Bytes sent, by the source's own count. */
  readonly transferred: number;
  /** Pages that the guest wrote, over those that it was to write; absent where that is not known. */
  readonly written?: number;
  /** CPU seconds a GB of the source's process. */
  readonly sourceCpu: number;
  /** The same of the destination's. */
  readonly destinationCpu: number;
}

/** All runs of a pair at a point. */
export interface Row {
  readonly point: Point;
  readonly pair: Pair;
  readonly runs: readonly MoveFigures[];
}

/** All that was measured over one link. */
export interface Section {
  readonly link: string;
  /** Bytes of the guest. */
  readonly size: number;
  /** Pages a second that the writer writes. */
  readonly rate: number;
  readonly rows: readonly Row[];
}
