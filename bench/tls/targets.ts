/** The targets of bench:tls. */

import { significant } from "../support/markdown.ts";
import { median, ratioOfPairs } from "../support/statistics.ts";
import type { Target } from "../support/target.ts";
import type { LibraryFigures, Measured, MoveFigures } from "./figures.ts";
import { type Kind, KINDS, type Pair } from "./kind.ts";

/** What a page may be waited for longer than in clear, mean, nanoseconds. */
const FAULT_COST = 15_000;
/** Throughput over that of the library alone, at least. */
const LIBRARY_SHARE = 0.9;
/** Throughput over that of QEMU to QEMU, at least. */
const QEMU_SHARE = 1;

function libraryRuns({ library }: Measured, kind: Kind): readonly LibraryFigures[] {
  return library.find((row) => row.kind === kind)?.runs ?? [];
}

function moveRuns({ moves }: Measured, pair: Pair, kind: Kind): readonly MoveFigures[] {
  return moves.find((row) => row.pair === pair && row.kind === kind)?.runs ?? [];
}

/** The mean wait over that in clear, run by run, nanoseconds; undefined when there is nothing to compare. */
function costs(
  runs: readonly number[] | undefined,
  inClear: readonly number[] | undefined,
): number[] | undefined {
  if (runs === undefined || inClear === undefined) return undefined;
  if (runs.length === 0 || runs.length !== inClear.length) return undefined;
  return runs.map((mean, run) => mean - inClear[run]!);
}

/** The figures of all runs; undefined when one has none. */
function all<Run>(
  runs: readonly Run[],
  pick: (run: Run) => number | undefined,
): number[] | undefined {
  const found = runs.map(pick).filter((value) => value !== undefined);
  return found.length === runs.length ? found : undefined;
}

function range(found: readonly number[]): string {
  return `${significant(Math.min(...found))} to ${significant(Math.max(...found))}`;
}

/** What TLS adds to a fault, and for comparison to a round trip of two plain processes. */
function faultTargets(measured: Measured, kind: Kind): Target[] {
  const targets: Target[] = [];
  for (const [which, beside] of [["alone", "no stream"], ["beside", "stream beside"]] as const) {
    const mean = (of: Kind) => all(moveRuns(measured, "ours", of), (run) => run[which]?.mean);
    const found = costs(mean(kind), mean("clear"))?.map((cost) => cost / 1000);
    if (found === undefined) continue;
    const value = median(found);
    targets.push({
      what:
        `${kind}, ${beside}: a fault costs at most ${FAULT_COST / 1000} us more than in clear ` +
        "(mean, one CPU)",
      value,
      met: value <= FAULT_COST / 1000,
      because: range(found),
    });
  }
  const mean = (of: Kind) => all(libraryRuns(measured, of), ({ roundTrip }) => roundTrip.mean);
  const found = costs(mean(kind), mean("clear"))?.map((cost) => cost / 1000);
  if (found !== undefined) {
    const what = `${kind}, library alone: a request and 4 KiB back cost more than in clear, us`;
    targets.push({ what, value: median(found), met: undefined, because: range(found) });
  }
  return targets;
}

/** Throughput over a reference of the same runs. */
function rateTarget(
  what: string,
  runs: readonly MoveFigures[],
  reference: readonly number[],
  least: number | undefined,
): Target[] {
  if (runs.length === 0 || runs.length !== reference.length) return [];
  const ratio = ratioOfPairs(runs.map(({ stream }) => stream.rate), reference);
  const met = least === undefined ? undefined : ratio.median >= least;
  return [{ what, value: ratio.median, met, because: range([ratio.least, ratio.most]) }];
}

function rateTargets(measured: Measured, kind: Kind): Target[] {
  const ours = moveRuns(measured, "ours", kind);
  const serve = moveRuns(measured, "serve-qemu", kind);
  const library = libraryRuns(measured, kind).map(({ rate }) => rate);
  const qemu = moveRuns(measured, "qemu", kind).map(({ stream }) => stream.rate);
  return [
    ...rateTarget(
      `${kind}: throughput at least ${LIBRARY_SHARE} of the library alone`,
      ours,
      library,
      LIBRARY_SHARE,
    ),
    ...rateTarget(`${kind}: throughput no less than QEMU to QEMU`, ours, qemu, QEMU_SHARE),
    ...rateTarget(`${kind}: serve to QEMU over QEMU to QEMU`, serve, qemu, undefined),
  ];
}

/**
 * Throughput over what it would be if a byte took as long as in clear, and longer by no more than the library
 * adds between two plain processes: a thread that receives decrypts and then places, one after the other.
 */
function libraryAdded(measured: Measured, kind: Kind): Target[] {
  const runs = moveRuns(measured, "ours", kind);
  const inClear = moveRuns(measured, "ours", "clear");
  const [library, sockets] = [libraryRuns(measured, kind), libraryRuns(measured, "clear")];
  if ([inClear, library, sockets].some(({ length }) => length !== runs.length)) return [];
  const bound = runs.map((_, run) =>
    1 / (1 / inClear[run]!.stream.rate + 1 / library[run]!.rate - 1 / sockets[run]!.rate)
  );
  const what = `${kind}: throughput over that in clear with the library's time a byte added`;
  return rateTarget(what, runs, bound, undefined);
}

/** How much of the throughput in clear is left, in each pair: for comparison. */
function leftOfClear(measured: Measured, kind: Kind): Target[] {
  return (["ours", "qemu"] as const).flatMap((pair) => {
    const inClear = moveRuns(measured, pair, "clear").map(({ stream }) => stream.rate);
    const what = `${kind}: throughput over that in clear, ${
      pair === "ours" ? "ours" : "QEMU to QEMU"
    }`;
    return rateTarget(what, moveRuns(measured, pair, kind), inClear, undefined);
  });
}

/** Works out the targets: those for which there are figures, of as many runs as their reference. */
export function tlsTargets(measured: Measured): Target[] {
  return KINDS.filter((kind) => kind !== "clear").flatMap((kind) => [
    ...faultTargets(measured, kind),
    ...rateTargets(measured, kind),
    ...libraryAdded(measured, kind),
    ...leftOfClear(measured, kind),
  ]);
}
