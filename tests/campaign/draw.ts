/** What a run of the campaign does, drawn from its seed: the same seed, the same plan everywhere. */

import type { CompressionMethod } from "../../migration/compression.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import type { Backing } from "../../ffi/memory.ts";
import type { PostcopyPolicy } from "../../server/live/convergence.ts";
import type { OrderOptions } from "../../server/order/source_order.ts";
import { randomOrder } from "../order/orders.ts";
import { Random } from "../support/random.ts";
import { type DestinationKind, drawFaults, type Fault, type SourceKind } from "./draw_faults.ts";

/** A RAM block. */
export interface PlanBlock {
  readonly name: string;
  readonly pages: number;
}

/** What protects a run's connections. */
export type TlsKind = "x509" | "psk";

/** All of a run. */
export interface Plan {
  readonly seed: number;
  readonly source: SourceKind;
  readonly destination: DestinationKind;
  readonly blocks: readonly PlanBlock[];
  readonly machine: string;
  readonly mode: Mode;
  /** Undefined: the connections are in clear. */
  readonly tls: TlsKind | undefined;
  readonly compress: CompressionMethod | undefined;
  readonly decompressThreads: number;
  readonly backing: Backing;
  /** Of a live source; `"now"` switches as soon as it runs. */
  readonly postcopy: PostcopyPolicy | "now";
  /** Bytes a second; 0 for no limit. */
  readonly bandwidth: number;
  /** Milliseconds. */
  readonly stallTimeout: number;
  /** Threads that touch memory at the destination. */
  readonly touchers: number;
  /** Whether they write too. */
  readonly writes: boolean;
  /** In which order an image is sent, and whether the stream is held back. */
  readonly order: OrderOptions;
  /** Whether the source is a process of its own. */
  readonly child: boolean;
  readonly faults: readonly Fault[];
}

/** Threads that touch memory at the destination, at most. */
export const MOST_TOUCHERS = 2;

const MIB = 1 << 20;
/** Of rules of before QEMU 8.0, of later ones, and of a name without a version. */
const MACHINES = ["pc-q35-7.2", "pc-q35-9.0", "postcopy-workload"];
/** One after the other tells more than chance: most runs are between two ends of ours. */
const KINDS: readonly [SourceKind, DestinationKind][] = [
  ["image", "guest"],
  ["image", "guest"],
  ["image", "guest"],
  ["live", "guest"],
  ["live", "guest"],
  ["live", "guest"],
  ["script", "file"],
  ["image", "file"],
  ["live", "file"],
];
/** Milliseconds: long beside a busy processor, and short where silence is to be noticed. */
const PATIENT = 30_000;
const IMPATIENT = 700;

/** Those without TLS keep finding what they found. */
const TLS_KINDS: readonly (TlsKind | undefined)[] = [
  undefined,
  undefined,
  undefined,
  "x509",
  "psk",
];

/**
 * Draws a run.
 *
 * @param tls what protects its connections, where both ends are ours; absent: that is drawn too
 */
export function drawPlan(seed: number, tls?: TlsKind | "none"): Plan {
  const random = new Random(seed);
  const [source, destination] = random.pick(KINDS);
  const blocks = drawBlocks(random);
  const mode = random.pick(MODES);
  const protection = source === "script" ? undefined : chooseTls(seed, tls);
  const child = source === "image" && random.oneIn(8);
  const postcopy = random.pick(["never", "now", "now", 1, 2, "auto"] as const);
  const pages = blocks.reduce((sum, block) => sum + block.pages, 0);
  const faults = drawFaults(random, {
    ...{ source, destination, mode, pages },
    handshakes: protection !== undefined,
  });
  const silent = faults.some(({ act }) => act.kind === "freeze");
  return {
    seed,
    source,
    destination,
    blocks,
    machine: random.pick(MACHINES),
    mode,
    tls: protection,
    compress: source === "script" ? undefined : random.pick([undefined, undefined, "zlib", "zstd"]),
    decompressThreads: random.below(3),
    backing: random.pick(["anonymous", "memfd"]),
    postcopy,
    bandwidth: random.pick([0, 0, 2 * MIB, 8 * MIB, 32 * MIB]),
    stallTimeout: silent ? IMPATIENT : PATIENT,
    touchers: destination === "guest" ? random.below(MOST_TOUCHERS + 1) : 0,
    writes: random.oneIn(2),
    order: source === "image" ? drawOrder(seed, blocks) : {},
    child,
    faults,
  };
}

/** By a number of its own: what is drawn beside it is the same with TLS and without. */
function chooseTls(seed: number, given: TlsKind | "none" | undefined): TlsKind | undefined {
  if (given !== undefined) return given === "none" ? undefined : given;
  return new Random(seed ^ 0x715).pick(TLS_KINDS);
}

/** By a number of its own, too. */
function drawOrder(seed: number, blocks: readonly PlanBlock[]): OrderOptions {
  const random = new Random(seed ^ 0x0bd);
  if (random.oneIn(3)) return {};
  const sizes = Object.fromEntries(blocks.map(({ name, pages }) => [name, pages]));
  const { runs } = randomOrder(random, sizes, random.pick([1, 30, 500]));
  const early = random.below(runs.length + 1);
  return {
    order: runs.map((run, place) => ({ ...run, early: place < early })),
    warm: random.pick([0, 20, 200, 2000]),
    noteRequests: random.oneIn(2),
    holdBack: random.oneIn(6) ? 100 : 0,
  };
}

function drawBlocks(random: Random): PlanBlock[] {
  const names = ["ram", "video", "rom", "flash"].slice(0, random.between(1, 4));
  return names.map((name, index) => ({
    name,
    pages: index === 0 ? random.between(1, random.pick([100, 900])) : random.between(1, 150),
  }));
}
