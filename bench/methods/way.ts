/** The ways that a guest's memory crosses the link, and what is measured of each. */

import type { CompressionMethod } from "../../migration/compression.ts";
import type { CpuPlacement } from "../support/cpu_placement.ts";
import type { Link } from "../support/link.ts";

/** One way: who migrates, and how. */
export interface Way {
  /** For tables. */
  readonly title: string;
  /** Who stands at both ends. */
  readonly side: "ours" | "qemu";
  /** How pages are compressed; undefined: not at all. */
  readonly method: CompressionMethod | undefined;
  /** True for a switch to postcopy at once, with a preempt channel. */
  readonly postcopy: boolean;
}

/** All ways, by the names of the command line. */
export const WAYS = {
  "qemu-none": { title: "QEMU, uncompressed", side: "qemu", method: undefined, postcopy: false },
  "qemu-zlib": { title: "QEMU, zlib", side: "qemu", method: "zlib", postcopy: false },
  "none": { title: "ours, uncompressed", side: "ours", method: undefined, postcopy: false },
  "zlib": { title: "ours, zlib", side: "ours", method: "zlib", postcopy: false },
  "zstd": { title: "ours, zstd", side: "ours", method: "zstd", postcopy: false },
  "zstd-postcopy": {
    title: "ours, zstd, postcopy at once",
    side: "ours",
    method: "zstd",
    postcopy: true,
  },
} as const satisfies Readonly<Record<string, Way>>;

/** A name of {@linkcode WAYS}. */
export type WayName = keyof typeof WAYS;

/** All names, in the order of the table. */
export const WAY_NAMES = Object.keys(WAYS) as readonly WayName[];

/** Parameters that every way has in common: those of the published table. */
export const SETTINGS = {
  level: 1,
  compressThreads: 8,
  decompressThreads: 2,
  /** Whether the sender waits for a thread when all are busy, or sends the page as it is. */
  wait: true,
  /** ms; QEMU's default. */
  downtimeLimit: 300,
} as const;

/** What is migrated, and where. */
export interface Move {
  /** Where the two ends are. */
  readonly link: Link;
  /** Bits a second of the link. */
  readonly rate: number;
  /** On which CPUs. */
  readonly placement: CpuPlacement;
  /** File of the guest's memory. */
  readonly content: string;
  /** Bytes of it. */
  readonly size: number;
  /** A directory for more files, in memory. */
  readonly directory: string;
}

/** What the compression threads did, in the units of QEMU's `query-migrate`. */
export interface CompressionFigures {
  /** Pages that were compressed. */
  readonly pages: number;
  /** Pages sent as they are because no thread was free, as a share of all. */
  readonly busyRate: number;
  /** Bytes of the compressed pages. */
  readonly compressedSize: number;
  /** Bytes before over bytes after. */
  readonly compressionRate: number;
}

/** How a migration went. */
export interface MoveFigures {
  /** ms from the begin until the destination has everything. */
  readonly total: number;
  /** ms as the source reports it: QEMU's ends when its last byte is in the socket. */
  readonly reportedTotal: number;
  /** ms from the source's stop to the destination's start, by the clock of this host. */
  readonly downtime: number;
  /** ms of downtime as the source reports it. */
  readonly reportedDowntime: number | undefined;
  /** Bytes of memory sent, by the source's own count. */
  readonly transferred: number;
  /** Of a way that compresses. */
  readonly compression: CompressionFigures | undefined;
  /** Share of the link's rate that was used while pages flowed, 0 to 1. */
  readonly linkUse: number;
  /** ms in which pages flowed. */
  readonly flowing: number;
  /** CPU seconds of the source's process from the migration's begin to its end. */
  readonly sourceCpu: number;
  /** The same of the destination's process. */
  readonly destinationCpu: number;
}
