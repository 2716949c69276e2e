/** What was measured of one guest, at one placement and background rate. */

import { median } from "../support/statistics.ts";
import type { Figures } from "./figures.ts";
import type { Placement } from "./placement.ts";
import { GUEST_TITLES, QEMU_GUESTS } from "./restorable_guest.ts";
import { workLost } from "./work_lost.ts";

/** All guests: those in QEMU, and the workload guest in our destination beside QEMU's random writer. */
export const GUEST_NAMES = [...QEMU_GUESTS, "workload"] as const;

/** One of {@linkcode GUEST_NAMES}. */
export type GuestName = typeof GUEST_NAMES[number];

/** Sides that are compared: QEMU, `serve`, and `serve` with the order that a restore before it left. */
export const SIDES = ["qemu", "serve", "again"] as const;

/** One of {@linkcode SIDES}. */
export type Side = typeof SIDES[number];

/** Runs of every side in turn, the same number of each that there is. */
export interface Row extends Readonly<Record<Side, readonly Figures[]>> {
  readonly guest: GuestName;
  readonly placement: Placement;
  /** Bytes a second of the background stream; 0 for no limit. */
  readonly limit: number;
  /** ms in which work is lost. */
  readonly window: number;
  /** Runs with all memory there first. */
  readonly floor: readonly Figures[];
  /** The same at a destination of ours, where QEMU's and ours are not the same; else empty. */
  readonly ourFloor: readonly Figures[];
}

/** Work lost in ms, run by run. */
export interface Lost extends Readonly<Record<Side, readonly number[]>> {
  readonly floor: readonly number[];
  readonly ourFloor: readonly number[];
}

/** Says a guest in words. */
export function guestTitle(guest: GuestName): string {
  return guest === "workload" ? "random writes, Deno to Deno / QEMU to QEMU" : GUEST_TITLES[guest];
}

/** Says a limit in words. */
export function limitTitle(limit: number): string {
  return limit === 0 ? "free" : `${limit / 2 ** 20} MiB/s`;
}

/** Works out what guests lost; what is undisturbed is the same for all runs in destinations of a kind. */
export function lostIn({ window, floor, ourFloor, qemu, serve, again }: Row): Lost {
  const together = (...groups: readonly (readonly Figures[])[]): number[][] => {
    const lost = workLost(groups.flat().map(({ seen }) => seen), window);
    let at = 0;
    return groups.map(({ length }) => lost.slice(at, at += length));
  };
  if (ourFloor.length === 0) {
    const [ofFloor, ofQemu, ofServe, ofAgain] = together(floor, qemu, serve, again);
    return { floor: ofFloor!, ourFloor: [], qemu: ofQemu!, serve: ofServe!, again: ofAgain! };
  }
  const [ofFloor, ofQemu] = together(floor, qemu);
  const [ofOurs, ofServe, ofAgain] = together(ourFloor, serve, again);
  return { floor: ofFloor!, ourFloor: ofOurs!, qemu: ofQemu!, serve: ofServe!, again: ofAgain! };
}

/** Gives the medians of the work that a side lost beyond the floor, ms; undefined when it did not run. */
export function netLost(lost: Lost, side: Side): number | undefined {
  const floor = side !== "qemu" && lost.ourFloor.length > 0 ? lost.ourFloor : lost.floor;
  if (lost[side].length === 0 || floor.length === 0) return undefined;
  return median(lost[side]) - median(floor);
}

/** A figure that some runs have. */
export type Pick = (figures: Figures) => number | undefined;

/** Gives a figure of all runs; undefined when one has none, or there is no run. */
export function valuesOf(runs: readonly Figures[], pick: Pick): number[] | undefined {
  const values = runs.map(pick).filter((value) => value !== undefined);
  return values.length === 0 || values.length < runs.length ? undefined : values;
}
