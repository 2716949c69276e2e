/**
 * Memory handed over: a lazy restore by CRIU with `lazy --criu` and with `criu lazy-pages`; and faults of VMs
 * that are served from a local file by `lazy`, and by a plain handler in C, a process a VM.
 *
 * @module
 */

import { whyNoCriu } from "../criu/criu_binary.ts";
import { restoreOnce, type RestoreTimes } from "./lazy/criu_restore.ts";
import {
  type HandlerRow,
  measureHandlers,
  MEMORY_MEBIBYTES,
  reportHandlers,
} from "./lazy/handlers.ts";
import { cells, type Pair, pairsOf, ratio, verdict } from "./lazy/pairs.ts";
import { buildProgram, touchedContent } from "./lazy/programs.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { describeMachine, formatMachine } from "./support/machine.ts";
import { markdownTable, significant } from "./support/markdown.ts";
import { countOption, countsOption, type RawOptions, wordOption } from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { TemporaryDirectory } from "./support/temporary_directory.ts";

const USAGE = `deno task bench:lazy [options]
  --part all       or criu, or faults
  --memory MiB     memory of the process that CRIU restores, default 64
  --vms 1,10,100   VMs at once; together they have 128 MiB, and each at least 1
  --threads 1,4,16 of each VM
  --balloon both   or on, or off: whether a balloon of each removes pages without an end; at most 10 VMs
  --pairs N        default 5
  --quick          one pair; 1 and 10 VMs, 1 and 4 threads
CRIU is looked for as the tests do (criu/criu_binary.ts): CRIU="COMMAND", or the tree of test:peers.`;

/** Target: ours over the other's. */
const CRIU_RATIO = 0.7;

async function measureCriu(
  toucher: string,
  mebibytes: number,
  count: number,
): Promise<Record<string, Pair<RestoreTimes>[]>> {
  const found: Record<string, Pair<RestoreTimes>[]> = {};
  for (const threads of [1, 4]) {
    progress(`CRIU, ${mebibytes} MiB read by ${threads}`);
    found[threads] = await pairsOf(
      count,
      () => restoreOnce(toucher, "criu", mebibytes, threads),
      () => restoreOnce(toucher, "lazy", mebibytes, threads),
    );
  }
  return found;
}

function reportCriu(found: Record<string, Pair<RestoreTimes>[]>): string[] {
  const rows = Object.entries(found).flatMap(([threads, pairs]) => [
    [`${threads}`, "all memory is there, ms", ...cells(pairs, ({ running }) => running)],
    [`${threads}`, "the same with criu restore, ms", ...cells(pairs, ({ total }) => total)],
    [`${threads}`, "the process has read all, ms", ...cells(pairs, ({ touching }) => touching)],
    [`${threads}`, "a touch, p99, us", ...cells(pairs, ({ touches }) => touches.p99)],
  ]);
  print(markdownTable(["threads", "", "criu lazy-pages", "lazy --criu", "ours / criu"], rows));
  return Object.entries(found).map(([threads, pairs]) => {
    const value = ratio(pairs, ({ running }) => running);
    const text = `a lazy restore read by ${threads} at most ${CRIU_RATIO} of criu lazy-pages: ${
      significant(value)
    }`;
    return verdict(value <= CRIU_RATIO, text);
  });
}

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  const part = wordOption(options, "part", ["all", "criu", "faults"]);
  const mebibytes = countOption(options, "memory", 64);
  const vms = countsOption(options, "vms", quick ? [1, 10] : [1, 10, 100]);
  const threads = countsOption(options, "threads", quick ? [1, 4] : [1, 4, 16]);
  const balloon = wordOption(options, "balloon", ["both", "on", "off"]);
  const count = countOption(options, "pairs", quick ? 1 : 5);
  const host = await describeMachine();
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(host)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  using directory = new TemporaryDirectory();
  const toucher = await buildProgram("toucher", directory.path);
  const verdicts: string[] = [];
  let restores: Record<string, Pair<RestoreTimes>[]> | undefined;
  let handlers: HandlerRow[] | undefined;
  if (part !== "faults") {
    const absence = await whyNoCriu();
    if (absence !== undefined) throw new Error(absence.text);
    restores = await measureCriu(toucher, mebibytes, count);
    verdicts.push(...reportCriu(restores));
  }
  if (part !== "criu") {
    const memory = `${directory.path}/memory`;
    await Deno.writeFile(memory, touchedContent(MEMORY_MEBIBYTES));
    const plainHandler = await buildProgram("plain_handler", directory.path);
    const programs = { toucher, plainHandler, memory, directory: directory.path };
    const balloons = balloon === "both" ? [false, true] : [balloon === "on"];
    handlers = await measureHandlers(programs, { vms, threads, balloons, pairs: count });
    verdicts.push(...reportHandlers(handlers));
  }
  print(`\n${verdicts.join("\n")}`);
  const content = { idleness, mebibytes, restores, handlers, verdicts };
  const path = await writeResults("lazy", host, content);
  progress(`Written to ${path.pathname}`);
}

if (import.meta.main) {
  await runBenchmark({
    usage: USAGE,
    valued: ["part", "memory", "vms", "threads", "balloon", "pairs"],
    flags: ["quick"],
  }, main);
}
