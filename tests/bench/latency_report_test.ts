import { assert, assertEquals } from "@std/assert";
import {
  formatTarget,
  type LatencySection,
  latencyTable,
  latencyTargets,
} from "../../bench/latency_report.ts";
import type { Mode } from "../../server/sending/mode.ts";

const us = (mean: number, p50 = mean) => ({
  ...{ count: 100, mean: mean * 1000, p50: p50 * 1000 },
  ...{ p99: mean * 2000, max: mean * 3000 },
});

/** A shaped link whose floors add up to 100 us, with what each mode took in two repetitions. */
function section(modes: Partial<Record<Mode, readonly [number, number]>>): LatencySection {
  const floors = { request: [us(80), us(80)], fault: [us(20), us(20)], bulkRate: [1e8, 1e8] };
  return {
    ...{ link: "veth", rate: 1e9, placement: "two-cpus" },
    floors: [{ beside: "idle", ...floors }, { beside: "bulk", ...floors }],
    rows: Object.entries(modes).map(([mode, means]) => ({
      ...{ order: "random", beside: "bulk", mode: mode as Mode },
      ...{ waits: means.map((mean) => us(mean)), buckets: [], reported: [], rate: [1e8, 1e8] },
    })),
  };
}

Deno.test("latencyTargets holds preempt-full against the sum of the floors", () => {
  const met = latencyTargets(section({ "preempt-full": [120, 138] }));
  assertEquals(met.map((target) => target.met), [true, true]);
  const missed = latencyTargets(section({ "preempt-full": [120, 150] }));
  assertEquals(missed.map((target) => target.met), [false, false]);
});

Deno.test("latencyTargets compares vanilla with preempt-full repetition by repetition", () => {
  const targets = latencyTargets(section({ "preempt-full": [100, 200], vanilla: [5000, 12000] }));
  const vanilla = targets.find(({ target }) => target.includes("vanilla"))!;
  assertEquals(vanilla.measured, { median: 55, least: 50, most: 60 });
  assert(vanilla.met);
  assert(formatTarget(vanilla).endsWith(": 55.0 (50.0 to 60.0)"));
});

Deno.test("latencyTargets asks nothing of vanilla where the link has no limit", () => {
  const unshaped = { ...section({ "preempt-full": [100, 100], vanilla: [200, 200] }), rate: 0 };
  assertEquals(latencyTargets(unshaped).filter(({ target }) => target.includes("vanilla")), []);
});

Deno.test("latencyTable puts the floors first and the ratios last", () => {
  const table = latencyTable(section({ "preempt-full": [120, 120], vanilla: [6000, 6000] }));
  const rows = table.split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
  assert(rows[2]![1]!.startsWith("floor"));
  assertEquals(rows.at(-2)!.slice(-4, -1), ["1.20", "1.20", ""]);
  assertEquals(rows.at(-1)!.slice(-4, -1), ["60.0", "60.0", "50.0"]);
});
