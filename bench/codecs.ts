/**
 * What it costs to compress and decompress a page with each library, in one thread and memory laid out
 * as the compression threads' slots are.
 *
 * @module
 */

import {
  CODEC_LIBRARIES,
  type CodecMethod,
  compressionLibrary,
  type PageCompressor,
  type PageDecompressor,
} from "../ffi/compression/codec.ts";
import { measurePass, PageSet, type Pass, SHARES } from "./codecs/measure.ts";
import { NodeZlibCompressor, NodeZlibDecompressor } from "./codecs/node_zlib.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { describeMachine, formatMachine } from "./support/machine.ts";
import { markdownTable, microseconds, significant } from "./support/markdown.ts";
import { countOption, type RawOptions } from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { median, ratioOfPairs } from "./support/statistics.ts";

const USAGE = `deno task bench:codecs [options]
  --pages N     pages in a pass, default 300
  --repeat N    passes of each library and level, default 9
  --quick       3 passes`;

const LEVELS: Readonly<Record<CodecMethod, readonly number[]>> = {
  zlib: [1, 3, 6, 9],
  zstd: [-7, -1, 1, 3, 9, 19],
};

/** What every other library of a method is compared with: zlib's is QEMU's, zstd's the distribution's. */
const REFERENCE: Readonly<Record<CodecMethod, string>> = {
  zlib: "libz.so.1",
  zstd: "libzstd.so.1",
};

/** A library at a level, and its passes. */
interface Row {
  readonly method: CodecMethod;
  readonly library: string;
  readonly level: number;
  readonly passes: Pass[];
}

/** A row and what makes its passes. */
interface Measured extends Row {
  readonly compressor: PageCompressor;
  readonly decompressor: PageDecompressor;
}

function open(): Measured[] {
  const rows: Measured[] = [];
  for (const method of ["zlib", "zstd"] as const) {
    const { instead } = compressionLibrary(method);
    if (instead !== undefined) progress(instead);
    for (const level of LEVELS[method]) {
      const make = CODEC_LIBRARIES[method].map(({ library, compressor, decompressor }) => ({
        library,
        compressor: () => compressor(level),
        decompressor,
      }));
      if (method === "zlib") {
        make.push({
          library: "node:zlib",
          compressor: () => new NodeZlibCompressor(level),
          decompressor: () => new NodeZlibDecompressor(),
        });
      }
      for (const { library, compressor, decompressor } of make) {
        try {
          const codec = { compressor: compressor(), decompressor: decompressor() };
          rows.push({ method, library, level, passes: [], ...codec });
        } catch (error) {
          progress(`${library} at level ${level} is left out: ${error}`);
        }
      }
    }
  }
  return rows;
}

function table(method: CodecMethod, rows: readonly Row[]): string {
  const of = ({ passes }: Row, figure: keyof Pass) => passes.map((pass) => pass[figure]);
  const body = rows.map((row) => {
    const reference = rows.find(({ library, level }) =>
      library === REFERENCE[method] && level === row.level
    );
    const ratio = (figure: keyof Pass) =>
      reference === undefined
        ? "-"
        : significant(ratioOfPairs(of(reference, figure), of(row, figure)).median);
    return [
      `${row.library} ${row.level}`,
      microseconds(median(of(row, "compress"))),
      ratio("compress"),
      microseconds(median(of(row, "decompress"))),
      ratio("decompress"),
      median(of(row, "bytes")).toFixed(0),
      Math.max(...of(row, "garbage")).toFixed(0),
    ];
  });
  const header = ["compress us", "ratio", "decompress us", "ratio", "bytes", "garbage bytes"];
  return markdownTable([`${method}, level`, ...header], body);
}

async function main(options: RawOptions): Promise<void> {
  const count = countOption(options, "pages", 300);
  const repeat = countOption(options, "repeat", options["quick"] === true ? 3 : 9);
  using set = new PageSet(count);
  const machine = await describeMachine();
  const rows = open();
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  // The first pass warms the libraries' memory and V8's code. All rows take turns, so that a
  // disturbance meets them all.
  for (let pass = 0; pass <= repeat; pass++) {
    for (const { compressor, decompressor, passes } of rows) {
      const result = measurePass(compressor, decompressor, set);
      if (pass > 0) passes.push(result);
    }
  }
  for (const { compressor, decompressor } of rows) {
    compressor.close();
    decompressor.close();
  }
  progress(`  ${repeat} passes done`);
  const plain = rows.map(({ method, library, level, passes }) => ({
    method,
    library,
    level,
    passes,
  }));
  const path = await writeResults("codecs", machine, {
    idleness,
    pages: count,
    shares: SHARES,
    rows: plain,
  });
  const total = Object.values(SHARES).reduce((sum, share) => sum + share, 0);
  const mix = Object.entries(SHARES).map(([kind, share]) =>
    `${(share / total * 100).toFixed(0)} % ${kind}`
  );
  print(
    `${formatMachine(machine)}. ${count} pages (${mix.join(", ")}), ${repeat} passes, medians.`,
  );
  print(
    "Ratio: how many times as fast as the system's own library at the same level, pass by pass.",
  );
  for (const method of ["zlib", "zstd"] as const) {
    print(`\n${table(method, rows.filter((row) => row.method === method))}`);
  }
  progress(`Results in ${path.pathname}`);
}

await runBenchmark({ usage: USAGE, valued: ["pages", "repeat"], flags: ["quick"] }, main);
