/** The targets of bench:disruption: what a guest loses by `serve`, over what it loses by QEMU. */

import { median } from "../support/statistics.ts";
import type { Target } from "../support/target.ts";
import type { Figures } from "./figures.ts";
import {
  guestTitle,
  limitTitle,
  lostIn,
  netLost,
  type Pick,
  type Row,
  type Side,
  valuesOf,
} from "./row.ts";
import { PLACEMENT_TITLES } from "./placement.ts";

/** Ratios to QEMU's, at most. */
interface Ratios {
  readonly lost: number;
  readonly blocktime: number;
  readonly total?: number;
  readonly faults?: number;
}

/** Of one side, by the background's rate. */
interface SideTargets {
  readonly free: Ratios;
  readonly limited: Ratios;
}

const TARGETS: Readonly<Record<string, Partial<Record<Side, SideTargets>>>> = {
  random: {
    serve: {
      free: { lost: 1, blocktime: 0.8, total: 1 },
      limited: { lost: 1, blocktime: 0.7, total: 1 },
    },
  },
  redis: {
    serve: { free: { lost: 0.8, blocktime: 0.5 }, limited: { lost: 0.4, blocktime: 0.2 } },
    again: {
      free: { lost: 0.4, blocktime: 0.1, faults: 0.5 },
      limited: { lost: 0.25, blocktime: 0.05, faults: 0.2 },
    },
  },
};
/** Mean latency of a fault over QEMU's, of every guest. */
const LATENCY = 0.5;
/** A mean of fewer faults tells nothing. */
const LEAST_FAULTS = 30;
/** Work lost with an order over that without, of every guest; what is above 1 allows for noise. */
const WITH_ORDER = 1.1;
/** Less work lost than this, ms beyond the floor, is noise, and nothing to divide by. */
const LEAST_LOST = 20;

const PICKS: Readonly<Record<"blocktime" | "total" | "faults", readonly [string, Pick]>> = {
  blocktime: ["blocktime", ({ blocktime }: Figures) => blocktime],
  total: ["total time", ({ total }: Figures) => total],
  faults: ["faults", ({ faults }: Figures) => faults],
};

function name({ guest, placement, limit }: Row, side: Side): string {
  const second = side === "again" ? ", second restore" : "";
  const place = PLACEMENT_TITLES[placement];
  return `${guestTitle(guest)}${second}, ${place}, background ${limitTitle(limit)}`;
}

/** Work lost beyond the floor over somebody else's. */
function lostTarget(
  what: string,
  ours: number,
  theirs: number,
  most: number,
): Target<number | string> {
  const because = `${ours.toFixed(0)} and ${theirs.toFixed(0)} ms beyond the floor`;
  // Also when ours is no more: it may be the floor that was disturbed.
  if (theirs < LEAST_LOST) return { what, value: "no ratio", met: undefined, because };
  const value = Math.max(0, ours) / theirs;
  return { what, value, met: value <= most, because };
}

/** The median of a figure over QEMU's: of medians, for a figure may be 0 in one run. */
function ratioTarget(
  what: string,
  ours: readonly number[] | undefined,
  theirs: readonly number[] | undefined,
  most: number,
): Target<number | string>[] {
  if (ours === undefined || theirs === undefined) return [];
  const [a, b] = [median(ours), median(theirs)];
  if (b === 0) return [{ what, value: "no ratio", met: a === 0, because: `${a} and 0` }];
  return [{ what, value: a / b, met: a / b <= most }];
}

/** The mean latency of faults, where there were enough of them. */
function latencyTarget({ serve, qemu }: Row, of: string): Target<number | string>[] {
  const pick: Pick = ({ latency }) => latency;
  const what = `${of}: mean fault at most ${LATENCY} of QEMU's`;
  const few = [serve, qemu].some((runs) => {
    const faults = valuesOf(runs, PICKS.faults[1]);
    return faults !== undefined && median(faults) < LEAST_FAULTS;
  });
  return ratioTarget(what, valuesOf(serve, pick), valuesOf(qemu, pick), LATENCY).map((target) =>
    few ? { ...target, met: undefined, because: `fewer than ${LEAST_FAULTS} faults` } : target
  );
}

function targetsOf(row: Row, side: Side): Target<number | string>[] {
  const ratios = TARGETS[row.guest]?.[side]?.[row.limit === 0 ? "free" : "limited"];
  const of = name(row, side);
  const lost = lostIn(row);
  const [ours, theirs] = [netLost(lost, side), netLost(lost, "qemu")];
  const targets: Target<number | string>[] = [];
  if (ratios !== undefined && ours !== undefined && theirs !== undefined) {
    const what = `${of}: work lost at most ${ratios.lost} of QEMU's`;
    targets.push(lostTarget(what, ours, theirs, ratios.lost));
  }
  const compare = (text: string, pick: Pick, most: number | undefined): void => {
    if (most === undefined) return;
    const what = `${of}: ${text} at most ${most} of QEMU's`;
    targets.push(
      ...ratioTarget(what, valuesOf(row[side], pick), valuesOf(row.qemu, pick), most),
    );
  };
  for (const key of ["blocktime", "total", "faults"] as const) {
    compare(...PICKS[key], ratios?.[key]);
  }
  if (side === "serve") targets.push(...latencyTarget(row, of));
  const without = netLost(lost, "serve");
  if (side === "again" && ours !== undefined && without !== undefined) {
    const what = `${of}: work lost no more than without an order`;
    targets.push(lostTarget(what, ours, without, WITH_ORDER));
  }
  return targets;
}

/** The targets that some rows are held against, and whether they were met. */
export function disruptionTargets(rows: readonly Row[]): Target<number | string>[] {
  return rows.flatMap((row) => [...targetsOf(row, "serve"), ...targetsOf(row, "again")]);
}
