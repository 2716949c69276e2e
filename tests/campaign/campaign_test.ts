/** Some runs of the fault campaign; `deno task campaign` makes as many as one wants. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Campaign } from "./campaign.ts";

const RUNS = 36;
/** Other than those of the long campaigns. */
const FIRST_SEED = 1_000_000;

Deno.test(`Both ends lose nothing in ${RUNS} migrations in which something fails, seeds ${FIRST_SEED} on`, async () => {
  const failed: string[] = [];
  const outcomes = new Set<string>();
  {
    await using campaign = new Campaign();
    for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed++) {
      const { outcome, report } = await campaign.run(seed);
      outcomes.add(outcome);
      if (outcome !== "failed") continue;
      failed.push(`${report}\nAgain: deno task campaign --runs 1 --seed ${seed}`);
    }
    await campaign.look();
  }
  assertEquals(failed, [], failed.join("\n\n"));
  assertEquals(outcomes.has("moved"), true);
});
