/** Runs the sides of a guest in turn, as often as asked for. */

import { waitForIdleMachine } from "../support/cpu_time.ts";
import { progress } from "../support/progress.ts";
import type { Figures } from "./figures.ts";
import { limitTitle, type Row, type Side, SIDES } from "./row.ts";
import type { Sides } from "./sides.ts";

/** Tries that a QEMU source gets: under TCG it now and then loses what its guest writes. */
const QEMU_TRIES = 3;
type Runs = Record<Side, Figures[]>;

/** One run, and where its figures go. */
interface Step {
  readonly name: string;
  readonly run: () => Promise<Figures>;
  readonly into: Figures[];
  readonly tries: number;
}

/** What is measured. */
export interface TurnsSetup {
  readonly guest: Row["guest"];
  readonly placement: Row["placement"];
  /** Bytes a second; 0 for no limit. */
  readonly limits: readonly number[];
  readonly window: number;
  readonly turns: number;
  /** Seconds that are waited for an idle machine before a run, at most. */
  readonly idleWait: number;
}

function show(name: string, { seen, total }: Figures): void {
  const did = "done" in seen
    ? `did ${(seen.done / seen.pace).toFixed(0)} ms of work`
    : `took ${seen.took.toFixed(0)} ms instead of ${seen.undisturbed.toFixed(0)}`;
  const all = total === undefined ? "" : `, all there after ${total.toFixed(0)} ms`;
  progress(`  ${name}: ${did}${all}`);
}

async function perform(
  { name, run, into, tries }: Step,
  idleWait: number,
  note: (text: string) => void,
): Promise<void> {
  for (let left = tries;; left--) {
    const { idle } = await waitForIdleMachine(idleWait);
    if (idle < 0.8) progress(`  the machine is ${(idle * 100).toFixed(0)} % idle`);
    try {
      const figures = await run();
      show(name, figures);
      into.push(figures);
      return;
    } catch (error) {
      if (left === 1) throw error;
      note(`${name}, not counted: ${(error as Error).message}`);
    }
  }
}

/**
 * Measures a guest: every side at every limit in turn, every other turn in reverse, the floor once a turn.
 *
 * @param note hears of runs that are not counted
 * @returns a row for each limit
 */
export async function measureTurns(
  sides: Sides,
  { guest, placement, limits, window, turns, idleWait }: TurnsSetup,
  note: (text: string) => void,
): Promise<Row[]> {
  const floor: Figures[] = [];
  const ourFloor: Figures[] = [];
  const runs = new Map(limits.map((limit): [number, Runs] => [limit, {
    qemu: [],
    serve: [],
    again: [],
  }]));
  const steps: Step[] = [{ name: "floor", run: sides.floor, into: floor, tries: 1 }];
  if (sides.ourFloor !== undefined) {
    steps.push({ name: "our floor", run: sides.ourFloor, into: ourFloor, tries: 1 });
  }
  for (const [limit, into] of runs) {
    for (const side of SIDES) {
      const run = sides[side];
      if (run === undefined) continue;
      const name = `${side}, ${limitTitle(limit)}`;
      const tries = side === "qemu" ? QEMU_TRIES : 1;
      steps.push({ name, run: () => run(limit), into: into[side], tries });
    }
  }
  for (let turn = 0; turn < turns; turn++) {
    for (const step of turn % 2 === 0 ? steps : steps.toReversed()) {
      await perform(step, idleWait, note);
    }
  }
  return [...runs].map(([limit, into]) => ({
    guest,
    placement,
    limit,
    window,
    floor,
    ourFloor,
    ...into,
  }));
}
