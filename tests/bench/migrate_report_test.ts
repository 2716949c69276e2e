import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { MoveFigures } from "../../bench/migrate/move.ts";
import {
  guestTable,
  migrationTable,
  migrationTargets,
  type Row,
  throughputTable,
  throughputTargets,
} from "../../bench/migrate/report.ts";

const SCENARIO = { way: "precopy", share: 0.2 } as const;

function figures(changes: Partial<MoveFigures>): MoveFigures {
  return {
    completed: true,
    total: 2000,
    setup: 10,
    downtime: 100,
    reported: 90,
    transferred: 3e9,
    rounds: 4,
    sourceRate: 6000,
    destinationRate: 5000,
    waits: undefined,
    sourceCpu: 1,
    destinationCpu: 2,
    ...changes,
  };
}

function section(row: Omit<Row, "scenario">) {
  return { link: "a link", size: 1 << 30, rows: [{ scenario: SCENARIO, ...row }] };
}

const MOVED = section({
  ours: [figures({ total: 1000, downtime: 150 }), figures({ total: 1100, downtime: 160 })],
  qemu: [figures({}), figures({})],
});

Deno.test("migrationTable puts our median beside QEMU's, with the ratio", () => {
  const table = migrationTable(MOVED);
  assertStringIncludes(table, "| precopy, 20 % |");
  assertStringIncludes(table, "1.05 / 2.00 (0.53)");
  assertStringIncludes(table, "155 / 100 (1.55)");
});

Deno.test("migrationTable says when a migration never ended", () => {
  const never = [figures({ completed: false, downtime: undefined, reported: undefined })];
  const table = migrationTable(section({ ours: never, qemu: never }));
  assertStringIncludes(table, "never / never");
  const half = migrationTable(section({ ours: [figures({})], qemu: never }));
  assertStringIncludes(half, "2.00 / never");
});

Deno.test("migrationTable leaves out a side that did not run", () => {
  assertStringIncludes(migrationTable(section({ ours: [], qemu: [figures({})] })), "- / 2.00");
});

Deno.test("guestTable shows waits where there were any", () => {
  const waits = { count: 5, mean: 2e6, p99: 9e6 };
  const table = guestTable(section({ ours: [figures({ waits })], qemu: [figures({})] }));
  assertStringIncludes(table, "2.00 / -");
});

Deno.test("migrationTargets holds time and downtime against QEMU's", () => {
  const targets = migrationTargets(MOVED);
  assertEquals(targets.map(({ met }) => met), [true, false]);
  assertStringIncludes(targets[1]!.what, "a link, precopy, 20 %: downtime");
});

Deno.test("migrationTargets has none for migrations that never ended", () => {
  const never = [figures({ completed: false, downtime: undefined })];
  assertEquals(migrationTargets(section({ ours: never, qemu: never })), []);
});

Deno.test("throughputTargets wants one and a half times QEMU's throughput", () => {
  const row = { way: "precopy", size: 2e9, qemu: [figures({})] };
  const met = throughputTargets([{ ...row, ours: [figures({ total: 1300 })] }]);
  assert(met[0]!.met);
  const missed = throughputTargets([{ ...row, ours: [figures({ total: 1400 })] }]);
  assert(!missed[0]!.met);
  const table = throughputTable([{ ...row, ours: [figures({ total: 1000 })] }]);
  assertStringIncludes(table, "2.00 / 1.00 (2.00)");
});
