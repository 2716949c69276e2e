/** VMs that are served from a local file, by a plain handler in C, a process a VM, and by `lazy`. */

import { markdownTable, significant } from "../support/markdown.ts";
import { print, progress } from "../support/progress.ts";
import { spread } from "../support/statistics.ts";
import {
  type FaultFigures,
  type FaultLoad,
  type FaultPrograms,
  measureFaults,
  measureTotal,
  type TotalFigures,
} from "./fault_load.ts";
import { cells, type Pair, pairsOf, ratio, verdict } from "./pairs.ts";

/** Bytes that all VMs have together, beside what balloons have. */
const ALL_MEBIBYTES = 128;
/** Bytes of the memory file: a balloon has a quarter more. */
export const MEMORY_MEBIBYTES = ALL_MEBIBYTES * 1.25;

/** Targets: ours over the other's. */
const P50_RATIO = 1.3;
/** Threads of one VM from which on more faults a second are served than by the plain handler. */
const MANY_THREADS = 4;
/** Microseconds in which a removal returns. */
const REMOVAL = 1000;

/** VMs with balloons at most: of more the plain handlers, which spin, take minutes. */
const MOST_BALLOONS = 10;

/** What is measured. */
export interface HandlerLoads {
  readonly vms: readonly number[];
  /** Of each VM. */
  readonly threads: readonly number[];
  /** Without a balloon, and with one. */
  readonly balloons: readonly boolean[];
  readonly pairs: number;
}

/** A load, and what came of it. */
export interface HandlerRow {
  readonly load: FaultLoad;
  /** All is asked for. */
  readonly faults: readonly Pair<FaultFigures>[];
  /** Until all memory is there, while `lazy` fills what is not asked for. */
  readonly totals: readonly Pair<TotalFigures>[];
}

/** Measures each load. */
export async function measureHandlers(
  programs: FaultPrograms,
  { vms, threads, balloons, pairs: count }: HandlerLoads,
): Promise<HandlerRow[]> {
  const rows: HandlerRow[] = [];
  for (const balloon of balloons) {
    for (const each of balloon ? vms.filter((each) => each <= MOST_BALLOONS) : vms) {
      for (const of of threads) {
        const mebibytes = Math.max(1, Math.floor(ALL_MEBIBYTES / each));
        const load = { vms: each, threads: of, mebibytes, balloon };
        const also = balloon ? ", and a balloon without an end" : "";
        progress(`${each} VMs of ${mebibytes} MiB, ${of} threads each${also}`);
        const faults = await pairsOf(
          count,
          () => measureFaults("plain", load, programs),
          () => measureFaults("lazy", load, programs),
        );
        const totals = await pairsOf(
          count,
          () => measureTotal("plain", load, programs),
          () => measureTotal("lazy", load, programs),
        );
        rows.push({ load, faults, totals });
      }
    }
  }
  return rows;
}

/** Prints tables; returns what became of the targets. */
export function reportHandlers(rows: readonly HandlerRow[]): string[] {
  return [false, true].flatMap((balloon) => {
    const some = rows.filter(({ load }) => load.balloon === balloon);
    if (some.length === 0) return [];
    if (balloon) print("\nBeside a balloon without an end:\n");
    print(tableOf(some));
    return some.filter(({ load }) => load.vms === 1).flatMap(verdictsOn);
  });
}

function tableOf(rows: readonly HandlerRow[]): string {
  const lines = rows.flatMap(({ load: { vms, threads, balloon }, faults, totals }) => {
    const at = [`${vms}`, `${threads}`];
    return [
      [...at, "p50, us", ...cells(faults, ({ p50 }) => p50)],
      [...at, "p99, us", ...cells(faults, ({ p99 }) => p99)],
      [...at, "faults a second", ...cells(faults, (each) => each.faultsPerSecond)],
      [...at, "all memory is there, ms", ...cells(totals, ({ total }) => total)],
      ...balloon === true
        ? [
          [...at, "a removal, p50, us", ...cells(faults, (each) => each.removalP50)],
          [...at, "the same beside the fill", ...cells(totals, (each) => each.removalP50)],
          [...at, "removals a second", ...cells(faults, (each) => each.removalsPerSecond)],
        ]
        : [],
    ];
  });
  const names = ["VMs", "threads", "", "plain handler, a process a VM", "lazy", "ours / plain"];
  return markdownTable(names, lines);
}

function verdictsOn({ load: { threads, balloon }, faults, totals }: HandlerRow): string[] {
  const also = balloon === true ? " and a balloon" : "";
  const middle = ratio(faults, ({ p50 }) => p50);
  const rate = ratio(faults, ({ faultsPerSecond }) => faultsPerSecond);
  const p50 = `p50 with ${threads} threads${also} at most ${P50_RATIO} of the plain handler's`;
  const verdicts = [verdict(middle <= P50_RATIO, `${p50}: ${significant(middle)}`)];
  if (threads >= MANY_THREADS) {
    const more = `more faults a second with ${threads} threads${also}: ${significant(rate)}`;
    verdicts.push(verdict(rate > 1, more));
  }
  if (balloon === true) {
    const all = [...faults, ...totals];
    const { median } = spread(all.map(({ ours }) => ours.removalP50));
    const text = `a removal with ${threads} threads under ${REMOVAL} us: ${significant(median)}`;
    verdicts.push(verdict(median < REMOVAL, text));
  }
  return verdicts;
}
