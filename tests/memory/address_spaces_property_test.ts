import { assert } from "@std/assert";
import { Random } from "../support/random.ts";
import { RandomMachine } from "./random_machine.ts";

const MACHINES = 120;
const STEPS = 100;

// Proved to notice, each alone: equals ordered the wrong way; a window not cut off; a change not noted
// through an alias; a kept view that is not dropped; ranges not merged; an addition before a deletion.
for (const debug of [false, true]) {
  Deno.test(
    `AddressSpace shows what painting every page shows, and so do listeners that know differences${
      debug ? ", with the debug check" : ""
    }`,
    () => {
      const total = { compared: 0, ranges: 0, refused: 0, forced: 0, stale: 0 };
      for (let seed = 0; seed < MACHINES; seed++) {
        const machine = new RandomMachine(new Random(seed * 2 + Number(debug)), debug);
        try {
          for (let step = 0; step < STEPS; step++) machine.step();
          machine.end();
        } catch (error) {
          throw new Error(`Machine of seed ${seed} went wrong`, { cause: error });
        }
        total.compared += machine.compared;
        total.ranges += machine.ranges;
        total.refused += machine.refused;
        total.forced += machine.core.statistics.forced;
        total.stale += machine.stale;
      }
      // The machines did what they were made for.
      assert(total.compared > MACHINES * STEPS && total.ranges > 5 * total.compared);
      assert(total.refused > 1000 && total.forced > 100);
      assert(debug ? total.stale > 500 : total.stale === 0);
    },
  );
}
