import { assertEquals, assertStringIncludes } from "@std/assert";
import {
  compressionTable,
  methodsTable,
  publishedTable,
  type Section,
} from "../../bench/methods/report.ts";
import { methodsTargets } from "../../bench/methods/targets.ts";
import { formatTarget } from "../../bench/support/target.ts";
import type { MoveFigures, WayName } from "../../bench/methods/way.ts";

function figures(changes: Partial<MoveFigures> = {}): MoveFigures {
  return {
    total: 10_000,
    downtime: 50,
    reportedTotal: 9900,
    reportedDowntime: 40,
    transferred: 100e6,
    compression: { pages: 1000, busyRate: 0, compressedSize: 2e6, compressionRate: 2.048 },
    linkUse: 0.98,
    flowing: 9000,
    sourceCpu: 2,
    destinationCpu: 1,
    ...changes,
  };
}

function section(runs: Partial<Record<WayName, readonly MoveFigures[]>>): Section {
  const rows = Object.entries(runs).map(([way, runs]) => ({ way: way as WayName, runs }));
  return { link: "a link", content: "mix", description: "a mix", size: 256 << 20, rows };
}

/** Rounds for a comparison. */
function outcomes(of: Section): [string, number, boolean | undefined][] {
  return methodsTargets(of, 1).map(({ what, value, met }) => [what, +value.toFixed(3), met]);
}

Deno.test("methodsTable shows a way a row, the median of its runs", () => {
  const table = methodsTable(section({
    "qemu-zlib": [figures()],
    "zlib": [figures({ total: 4000 }), figures({ total: 6000 }), figures({ total: 5000 })],
  }));
  assertStringIncludes(table, "| QEMU, zlib |     10.0 |        9.90 |         50.0 |");
  assertStringIncludes(table, "| ours, zlib |     5.00 |        9.90 |");
  assertStringIncludes(table, "98.0");
});

Deno.test("methodsTable reckons the throughput from what was sent in the whole time", () => {
  // 100 MB in 10 s are 80 Mbit/s
  assertStringIncludes(methodsTable(section({ zstd: [figures()] })), "| 80.0 |".slice(2));
});

Deno.test("compressionTable leaves out ways that do not compress", () => {
  const none = figures({ compression: undefined });
  const table = compressionTable(section({ none: [none], zstd: [figures()] }));
  assertEquals(table.split("\n").length, 3);
  assertStringIncludes(table, "| ours, zstd |             1000 |   2.00 |             2.05 |");
});

Deno.test("publishedTable puts zlib over zstd beside the published ratio", () => {
  const table = publishedTable(section({
    zlib: [figures({ total: 9000, transferred: 3_072_000 })],
    zstd: [figures({ total: 6000, transferred: 2_048_000 })],
  }));
  const total = table.split("\n").find((line) => line.startsWith("| total time"))!;
  assertEquals(total.split("|").map((cell) => cell.trim()).slice(2, -1), [
    ...["75256", "44187", "1.70", "-", "9000", "6000", "1.50"],
  ]);
  assertStringIncludes(table, "| 3000 |".slice(2));
});

Deno.test("methodsTargets compares zstd with zlib, and both with QEMU, run by run", () => {
  const runs = section({
    "qemu-zlib": [figures({ total: 16_000 }), figures({ total: 32_000 })],
    "zlib": [figures({ total: 10_000 }), figures({ total: 20_000 })],
    "zstd": [figures({ total: 5000 }), figures({ total: 10_000 })],
  });
  assertEquals(outcomes(runs).slice(0, 3), [
    ["ours, zstd: at least 1.7 times as fast as ours, zlib", 2, true],
    ["ours, zlib: at least 1.5 times as fast as QEMU, zlib", 1.6, true],
    ["ours, zstd: how many times as fast as QEMU, zlib", 3.2, undefined],
  ]);
});

Deno.test("methodsTargets says what the bytes allow where zstd misses", () => {
  const [target] = methodsTargets(
    section({
      zlib: [figures({ transferred: 110e6 })],
      zstd: [figures({ total: 9100, flowing: 9000, linkUse: 1 })],
    }),
    1,
  );
  assertEquals(target!.met, false);
  const text = formatTarget(target!);
  assertStringIncludes(text, "- MISSED: ours, zstd: at least 1.7 times as fast");
  assertStringIncludes(text, ": 1.10 (ours, zlib sends 1.10 times the bytes");
  assertStringIncludes(text, "a link used to the full allows 1.11)");
});

Deno.test("methodsTargets asks for the link only while compression is not the bottleneck", () => {
  const idle = figures({ linkUse: 0.5 });
  const busy = figures({ linkUse: 0.5, sourceCpu: 8.5 });
  const met = (runs: MoveFigures[]) => outcomes(section({ zlib: runs })).map(([, , met]) => met);
  assertEquals(met([figures({ linkUse: 0.95 })]), [true]);
  assertEquals(met([idle]), [false]);
  assertEquals(met([busy]), [undefined]);
  assertEquals(met([figures({ sourceCpu: 8.5 })]), [true]);
});

Deno.test("methodsTargets leaves out comparisons with a way that did not run as often", () => {
  const runs = section({ zlib: [figures(), figures()], zstd: [figures()], "qemu-zlib": [] });
  assertEquals(outcomes(runs).filter(([what]) => what.includes("as fast as")), []);
});
