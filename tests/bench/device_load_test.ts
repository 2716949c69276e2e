/** What bench:device-load measures, and what its tables say. */
import "../support/native.ts";
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { moveMachine } from "../../bench/device_load/downtime.ts";
import { exponent } from "../../bench/device_load/fit.ts";
import { type Loads, loadTime, measureLoads } from "../../bench/device_load/loads.ts";
import {
  countTable,
  downtimeTable,
  forcedList,
  loadTable,
  sweepTable,
  targets,
} from "../../bench/device_load/report.ts";
import { SET_UPS, SWEEPS } from "../../bench/device_load/set_ups.ts";
import type { LoadReport } from "../../workload/machine/machine.ts";
import { within } from "../support/deadline.ts";

const SMALL = { netDevices: 2, netQueues: 2, blockDevices: 2, blockQueues: 2 };

function report(milliseconds: number, commits: number, forcedBy: string[]): LoadReport {
  const memory = {
    commits,
    forced: forcedBy.length,
    rebuilds: 3 * commits,
    listenerCalls: 100 * commits,
    commitTime: milliseconds * 5e5,
  };
  return { total: milliseconds * 1e6, finish: 0, memory, forcedBy };
}

function loads(perChange: readonly number[], one: readonly number[], commits = 2): Loads {
  return {
    "per-change": perChange.map((time) => report(time, 112, [])),
    one: one.map((time) => report(time, commits, ["ioapic: reads"])),
  };
}

Deno.test("exponent is the slope in logarithms, whatever the unit", () => {
  assertAlmostEquals(exponent([1, 2, 4, 8], [5, 10, 20, 40]), 1);
  assertAlmostEquals(exponent([1, 2, 4, 8], [1, 4, 16, 64]), 2);
  assertAlmostEquals(exponent([1, 64], [7, 7]), 0);
  assert(exponent([1, 2, 4, 8], [11, 12, 14, 18]) < 0.3, "most of it is always the same");
});

Deno.test("exponent refuses what has no logarithm, or is no line", () => {
  for (const [counts, times] of [[[1], [1]], [[1, 2], [1]], [[1, 2], [0, 1]], [[0, 2], [1, 1]]]) {
    assertThrows(() => exponent(counts!, times!), RangeError, "Cannot fit");
  }
});

Deno.test("measureLoads loads a machine both ways, as often as asked", () => {
  const measured = measureLoads(SMALL, 3);
  assertEquals([measured.one.length, measured["per-change"].length], [3, 3]);
  for (const { total, memory, forcedBy } of measured.one) {
    assert(memory.commitTime > 0 && total > memory.commitTime);
    assertEquals([memory.forced, forcedBy.length], [3, 3]);
  }
  assert(measured["per-change"].every(({ memory }) => memory.commits > 30));
  assert(loadTime(measured.one) > 0);
});

Deno.test("The tables show medians, ratios load by load, and the published figures", () => {
  const rows = [{ setUp: SET_UPS[0]!, loads: loads([20, 30, 40], [10, 10, 10]) }];
  assert(
    /\| 8 net x 16 .*\| +30.0 \| +15.0 \| +10.0 \| +5.00 \| 3.00 \(2.00 to 4.00\) \| 112 \/ 44 = 2.55 \|/
      .test(loadTable(rows)),
    loadTable(rows),
  );
  assert(/\| 112 \/ 2 \| +0 \/ 1 \| +336 \/ 6 \| +11200 \/ 200 \|/.test(countTable(rows)));
  const forced = forcedList(rows);
  assertEquals(
    forced,
    "- 8 net x 16 queues, 16 block x 4: 1 forced, and one at the end\n  - ioapic: reads",
  );
  const none = [{ setUp: SET_UPS[2]!, loads: loads([1], [1], 1) }];
  assert(forcedList(none).includes("none at the end"));
});

Deno.test("The targets are met or missed by ratio and exponents", () => {
  const grows = (power: number) => ({
    sweep: SWEEPS[0]!,
    points: [1, 2, 4, 8].map((count) => ({ count, loads: loads([1], [count ** power]) })),
  });
  const rows = (ratio: number) => [{ setUp: SET_UPS[0]!, loads: loads([ratio], [1]) }];
  assertEquals(targets(rows(2.5), [grows(1)]).map(({ met }) => met), [true, true]);
  assertEquals(targets(rows(2.4), [grows(1.2)]).map(({ met }) => met), [false, false]);
  assert(sweepTable(grows(2)).includes("2.00"));
  assert(formatTarget(targets(rows(2.4), [])[0]!).startsWith("- MISSED: 8 net x 16"));
});
import { formatTarget } from "../../bench/support/target.ts";

for (const transaction of ["one", "per-change"] as const) {
  Deno.test(`moveMachine moves a machine between two processes, ${transaction}`, async () => {
    const machine = { ...SMALL, ramBytes: 32 * 2 ** 20 };
    const how = { postcopy: "never", warmUp: 0, placement: "scheduler" } as const;
    const figures = await within(
      "the move",
      moveMachine({ machine, transaction, ...how }),
      60_000,
    );
    const { downtime, stop, save, transfer, load, commit, start } = figures;
    const parts = [stop, save, transfer, load, commit, start];
    assert(parts.every((part) => part > 0), `${parts}`);
    assertAlmostEquals(parts.reduce((sum, part) => sum + part), downtime);
    assertEquals(figures.forced, transaction === "one" ? 3 : 0);
    assert(transaction === "one" ? figures.commits === 3 : figures.commits > 30);
    const moves = { one: [figures], "per-change": [figures] };
    const table = downtimeTable([{ setUp: SET_UPS[0]!, how: "precopy", moves }]);
    assert(table.includes("285 / 208 = 1.37"), table);
  });
}
