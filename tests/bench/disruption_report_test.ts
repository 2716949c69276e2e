import { assertEquals, assertStringIncludes } from "@std/assert";
import type { Figures } from "../../bench/disruption/figures.ts";
import { disruptionTable, spreadTable } from "../../bench/disruption/report.ts";
import { lostIn, netLost, type Row, valuesOf } from "../../bench/disruption/row.ts";
import { disruptionTargets } from "../../bench/disruption/targets.ts";

/** A run that lost so many ms at 1 unit a ms. */
function run(lost: number, changes: Partial<Figures> = {}): Figures {
  return {
    seen: { done: 3000 - lost, pace: 1 },
    blocktime: 100,
    faults: 1000,
    latency: 100_000,
    running: 10,
    total: 500,
    sourceCpu: 0.5,
    destinationCpu: 0.25,
    ...changes,
  };
}

/** A run whose figures nobody counted. */
function floor(lost: number): Figures {
  return { seen: { done: 3000 - lost, pace: 1 } };
}

function row(changes: Partial<Row> = {}): Row {
  return {
    guest: "random",
    placement: "two-cpus",
    limit: 0,
    window: 3000,
    floor: [floor(100), floor(150), floor(120)],
    ourFloor: [],
    qemu: [run(520), run(500), run(900)],
    serve: [run(320), run(300), run(350)],
    again: [],
    ...changes,
  };
}

/** Targets by what they say of which side, with their value and verdict. */
function outcomes(row: Row): [string, number | string, boolean | undefined][] {
  return disruptionTargets([row]).map(({ what, value, met }) => [
    what.split("background ")[1]!,
    typeof value === "number" ? +value.toFixed(3) : value,
    met,
  ]);
}

Deno.test("lostIn holds runs at one destination against one pace", () => {
  const slow: Figures = { seen: { done: 1500, pace: 0.5 } };
  const lost = lostIn(row({ serve: [run(320), slow, run(350)] }));
  assertEquals(lost.serve, [320, 1500, 350]);
  assertEquals(lost.floor, [100, 150, 120]);
});

Deno.test("lostIn holds runs at our destination against the pace there", () => {
  const ours = (done: number): Figures => ({ seen: { done, pace: 2 } });
  const lost = lostIn(row({ guest: "workload", ourFloor: [ours(5800)], serve: [ours(5000)] }));
  assertEquals([lost.ourFloor, lost.serve, lost.qemu], [[100], [500], [520, 500, 900]]);
  assertEquals([netLost(lost, "serve"), netLost(lost, "qemu")], [400, 400]);
});

Deno.test("netLost is the median beyond the floor's, and nothing of a side that did not run", () => {
  const lost = lostIn(row());
  assertEquals(netLost(lost, "qemu"), 400);
  assertEquals(netLost(lost, "serve"), 200);
  assertEquals(netLost(lost, "again"), undefined);
});

Deno.test("valuesOf has nothing where a run lacks the figure", () => {
  const pick = ({ latency }: Figures) => latency;
  assertEquals(valuesOf([run(1), run(2)], pick), [100_000, 100_000]);
  assertEquals(valuesOf([run(1), floor(2)], pick), undefined);
  assertEquals(valuesOf([], pick), undefined);
});

Deno.test("disruptionTable shows ours beside QEMU's, and the floor", () => {
  const lines = disruptionTable([row(), row({ limit: 100 << 20, qemu: [floor(700)] })]).split("\n");
  const cells = (line: string) => line.split("|").map((cell) => cell.trim()).slice(1, -1);
  assertEquals(cells(lines[2]!), [
    ...["random writes", "free", "320 / 520", "120", "100 / 100", "100 / 100", "1000 / 1000"],
    ...["10.0 / 10.0", "0.50 / 0.50", "0.50 / 0.50", "0.25 / 0.25"],
  ]);
  assertEquals(cells(lines[3]!).slice(0, 5), [
    ...["random writes", "100 MiB/s", "320 / 700", "120", "100 / -"],
  ]);
});

Deno.test("disruptionTable has a line for the second restore", () => {
  const lines = disruptionTable([row({ guest: "redis", again: [run(200)] })]).split("\n");
  assertEquals(lines.length, 4);
  assertStringIncludes(lines[3]!, "redis, GETs by a Zipf law, second restore");
  assertStringIncludes(lines[3]!, "200 / 520");
});

Deno.test("spreadTable shows the extremes and what is undisturbed", () => {
  const table = spreadTable([row(), row({ guest: "script", floor: [script(1700)] })]);
  assertStringIncludes(table, "500 to 900");
  assertStringIncludes(table, "1000 /s");
  assertStringIncludes(table, "1200 ms");
});

/** A script that took so long, and 1200 ms undisturbed. */
function script(took: number): Figures {
  return { seen: { took, undisturbed: 1200 } };
}

Deno.test("disruptionTargets compares work lost net of the floor, and other figures as they are", () => {
  const serve = [run(320, { blocktime: 85, total: 490 })];
  assertEquals(outcomes(row({ serve })), [
    ["free: work lost at most 1 of QEMU's", 0.5, true],
    ["free: blocktime at most 0.8 of QEMU's", 0.85, false],
    ["free: total time at most 1 of QEMU's", 0.98, true],
    ["free: mean fault at most 0.5 of QEMU's", 1, false],
  ]);
});

Deno.test("disruptionTargets are others where the background is limited", () => {
  const limited = row({ guest: "redis", limit: 1, serve: [run(320, { latency: 40_000 })] });
  assertEquals(outcomes(limited).map(([what, , met]) => [what.split(": ")[1], met]), [
    ["work lost at most 0.4 of QEMU's", false],
    ["blocktime at most 0.2 of QEMU's", false],
    ["mean fault at most 0.5 of QEMU's", true],
  ]);
});

Deno.test("disruptionTargets of a second restore has faults, and no more lost than in the first", () => {
  const again = [run(200, { blocktime: 5, faults: 300 })];
  assertEquals(outcomes(row({ guest: "redis", again })).slice(-4), [
    ["free: work lost at most 0.4 of QEMU's", 0.2, true],
    ["free: blocktime at most 0.1 of QEMU's", 0.05, true],
    ["free: faults at most 0.5 of QEMU's", 0.3, true],
    ["free: work lost no more than without an order", 0.4, true],
  ]);
  const worse = [run(400)];
  assertEquals(outcomes(row({ guest: "hot", again: worse })), [
    ["free: mean fault at most 0.5 of QEMU's", 1, false],
    ["free: work lost no more than without an order", 1.4, false],
  ]);
});

Deno.test("disruptionTargets judges no work lost where QEMU's is lost in the floor's noise", () => {
  const verdict = (serve: Figures) => outcomes(row({ qemu: [run(125)], serve: [serve] }))[0]!;
  assertEquals(verdict(run(139)).slice(1), ["no ratio", undefined]);
  assertEquals(verdict(run(50)).slice(1), ["no ratio", undefined]);
  assertEquals(verdict(run(300)).slice(1), ["no ratio", undefined]);
  const less = outcomes(row({ serve: [run(50)] }))[0]!;
  assertEquals(less.slice(1), [0, true]);
});

Deno.test("disruptionTargets holds every guest to the latency of faults, if there were enough", () => {
  const latency = (of: Row) => outcomes(of).filter(([what]) => what.includes("mean fault"));
  const slow = { guest: "sequential", serve: [run(300, { latency: 900_000 })] } as const;
  assertEquals(latency(row(slow))[0]!.slice(1), [9, false]);
  const few = { ...slow, qemu: [run(500, { faults: 8 })] };
  assertEquals(latency(row(few))[0]!.slice(1), [9, undefined]);
});
