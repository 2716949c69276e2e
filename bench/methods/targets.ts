/** The targets of bench:methods, and why one that is missed is. */

import { significant } from "../support/markdown.ts";
import { ratioOfPairs } from "../support/statistics.ts";
import type { Target } from "../support/target.ts";
import { middle, type Section } from "./report.ts";
import { type MoveFigures, type WayName, WAYS } from "./way.ts";

/** Total time of zlib over that of zstd, at least: published 75256 / 44187. */
const ZSTD_RATIO = 1.7;
/** Total time of QEMU with zlib over ours with zlib, at least. */
const QEMU_RATIO = 1.5;
/** Share of the link that is used while compression is not the bottleneck, at least. */
const LINK_SHARE = 0.95;
/** An end that takes more than this share of its CPU is the bottleneck. */
const BUSY_SHARE = 0.9;

function runsOf({ rows }: Section, name: WayName): readonly MoveFigures[] {
  return rows.find(({ way }) => way === name)?.runs ?? [];
}

/** Share of an end's CPU that was used while pages flowed: of the busier end. */
function busy(runs: readonly MoveFigures[], cpus: number): number {
  const share = ({ sourceCpu, destinationCpu, flowing }: MoveFigures): number =>
    flowing === 0 ? 0 : Math.max(sourceCpu, destinationCpu) * 1000 / flowing / cpus;
  return middle(runs, share) ?? 0;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

/**
 * How much faster one way is than another, and how much faster it could be: with the bytes that it
 * sends, on a link that it uses to the full.
 *
 * @param least the target; undefined for none
 */
function faster(
  section: Section,
  name: WayName,
  reference: WayName,
  least?: number,
): Target[] {
  const [runs, other] = [runsOf(section, name), runsOf(section, reference)];
  if (runs.length === 0 || runs.length !== other.length) return [];
  const total = ({ total }: MoveFigures): number => total;
  const value = ratioOfPairs(other.map(total), runs.map(total)).median;
  const bytes = middle(other, (each) => each.transferred)! /
    middle(runs, (each) => each.transferred)!;
  const shortest = middle(runs, ({ flowing, linkUse }) => flowing * linkUse)!;
  const bound = middle(other, total)! / shortest;
  const [title, than] = [WAYS[name].title, WAYS[reference].title];
  return [{
    what: `${title}: ${
      least === undefined ? "how many times" : `at least ${least} times`
    } as fast as ${than}`,
    value,
    met: least === undefined ? undefined : value >= least,
    because: `${than} sends ${significant(bytes)} times the bytes and uses ` +
      `${percent(middle(other, ({ linkUse }) => linkUse)!)} of the link; with the bytes that ` +
      `${title} sends, a link used to the full allows ${significant(bound)}`,
  }];
}

function linkUsed(section: Section, name: WayName, cpus: number): Target[] {
  const runs = runsOf(section, name);
  const value = middle(runs, ({ linkUse }) => linkUse);
  if (value === undefined) return [];
  const share = busy(runs, cpus);
  const slow = share > BUSY_SHARE;
  return [{
    what: `${WAYS[name].title}: at least ${percent(LINK_SHARE)} of the link used while ` +
      "compression is not the bottleneck",
    value,
    met: value >= LINK_SHARE ? true : slow ? undefined : false,
    because: `the busier end takes ${percent(share)} of its CPU${
      slow ? ", compression is the bottleneck" : ""
    }`,
  }];
}

/**
 * Works out the targets of a section.
 *
 * @param cpus that an end may use
 */
export function methodsTargets(section: Section, cpus: number): Target[] {
  return [
    ...faster(section, "zstd", "zlib", ZSTD_RATIO),
    ...faster(section, "zlib", "qemu-zlib", QEMU_RATIO),
    ...faster(section, "zstd", "qemu-zlib"),
    ...(["none", "zlib", "zstd", "zstd-postcopy"] as const).flatMap((name) =>
      linkUsed(section, name, cpus)
    ),
  ];
}
