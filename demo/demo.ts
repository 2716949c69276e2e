// deno-lint-ignore-file no-console -- a command

/**
 * `deno task demo`: the memory of a running guest moves from one Deno process to another. The guest's
 * threads write to all of it from the first moment, and every byte is checked at the end.
 *
 * @module
 */

import {
  isRight,
  progressText,
  resultLines,
  type WorkloadEvent,
  type WorkloadResult,
} from "../client/command/workload_report.ts";
import { writeWorkloadImage } from "../workload/image.ts";
import {
  bytesArgument,
  countArgument,
  type Options,
  parseOptions,
  secondsArgument,
  UsageError,
} from "../migration/command/arguments.ts";
import { optionsHelp } from "../migration/command/help.ts";
import { ProgressLine } from "../migration/report/progress_line.ts";
import { formatBytes, formatCount, formatDuration } from "../migration/report/units.ts";
import type { SourceStatistics } from "../server/mod.ts";
import { ChildProcess } from "./child_process.ts";
import { stopSignal } from "./stop_signal.ts";

const OPTIONS = {
  size: { value: "BYTES", help: "memory of the guest (suffix K, M or G); default 512M" },
  threads: { value: "N", help: "threads that write to it; default 2" },
  bandwidth: {
    value: "BYTES",
    help:
      "bytes a second of the background stream, 0 for no limit; default 128M, which leaves time " +
      "to watch. Pages that the threads wait for are never limited",
  },
  timeout: { value: "SECONDS", help: "give up after this time; default 120" },
} as const satisfies Options;

const USAGE = ["deno task demo [options]", ...optionsHelp(OPTIONS)].join("\n");

const PAGE = 4096;
/** Accesses of a thread in a second: it does a little more than waiting for pages. */
const RATE = 10_000;

interface Settings {
  readonly size: number;
  readonly threads: number;
  /** Bytes a second. */
  readonly bandwidth: number;
  /** Milliseconds. */
  readonly timeout: number;
}

function readSettings(args: readonly string[]): Settings {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(USAGE);
    Deno.exit(0);
  }
  const values = parseOptions(args, OPTIONS);
  const size = bytesArgument("size", values.size ?? "512M");
  if (size === 0 || size % PAGE !== 0) {
    throw new UsageError(`Size is no positive multiple of ${PAGE}: ${size}`);
  }
  return {
    size,
    threads: countArgument("threads", values.threads ?? "2"),
    bandwidth: bytesArgument("bandwidth", values.bandwidth ?? "128M"),
    timeout: secondsArgument("timeout", values.timeout ?? "120"),
  };
}

function program(name: string): string {
  return new URL(`../${name}`, import.meta.url).pathname;
}

const line = ProgressLine.on(Deno.stdout);

/** Moves the guest in an image; both processes have ended when this returns. */
async function migrate(
  image: string,
  { threads, bandwidth }: Settings,
  signal: AbortSignal,
): Promise<{ readonly result: WorkloadResult; readonly source: SourceStatistics }> {
  const aborted = abortion(signal);
  const address = Promise.withResolvers<string>();
  let result: WorkloadResult | undefined;
  let source: SourceStatistics | undefined;
  const onEvent = (event: WorkloadEvent): void => {
    if (event.event === "listening") address.resolve(event.address);
    if (event.event === "progress") line.update(progressText(event));
    if (event.event === "result") result = event;
  };
  const options = ["--write", "--threads", `${threads}`, "--rate", `${RATE}`, "--json"];
  await using destination = new ChildProcess<WorkloadEvent>(
    "destination",
    ["run", "-A", program("client/main.ts"), "workload", "--listen", "tcp:127.0.0.1:0", ...options],
    onEvent,
  );
  const received = destination.succeeded();
  const to = await Promise.race([
    address.promise,
    received.then(() => Promise.reject(new Error("The destination ended before it listened"))),
    aborted,
  ]);
  const limit = ["--max-postcopy-bandwidth", `${bandwidth}`];
  await using server = new ChildProcess<SourceStatistics>(
    "source",
    ["run", "-A", program("server/main.ts"), "serve", image, "--to", to, ...limit, "--json"],
    (statistics) => source = statistics,
  );
  try {
    await Promise.race([Promise.all([received, server.succeeded()]), aborted]);
  } finally {
    line.clear();
    if (result !== undefined) console.log(resultLines(result).join("\n"));
  }
  if (result === undefined || source === undefined) {
    throw new Error("A process ended well but said nothing: run it by hand to see why");
  }
  return { result, source };
}

async function demo(settings: Settings, signal: AbortSignal): Promise<void> {
  const { size, threads } = settings;
  const directory = await Deno.makeTempDir({ prefix: "postcopy-demo-" });
  try {
    const image = `${directory}/guest.img`;
    console.log(
      `A guest with ${
        formatBytes(size)
      } of memory, ${threads} threads writing to it, moves from one process to another.`,
    );
    line.update("Writing its image...");
    const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
    const blocks = [{ name: "ram", length: size }];
    await writeWorkloadImage(image, { seed, zeroEvery: 4, blocks, signal });
    line.clear();
    const { result, source } = await migrate(image, settings, signal);
    const { ram } = source;
    console.log(
      `\nThe source sent ${formatCount(ram.normal)} pages and ${formatCount(ram.duplicate)} zero ` +
        `pages, ${formatCount(ram["postcopy-requests"])} of them on request, each within ` +
        `${formatDuration(source["request-service-time"])} on average.`,
    );
    if (!isRight(result)) throw new Error("Some bytes are wrong");
  } finally {
    line.clear();
    await Deno.remove(directory, { recursive: true });
  }
}

/** Rejects when the signal is aborted. */
function abortion(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(signal.reason));
  if (signal.aborted) reject(signal.reason);
  promise.catch(() => {}); // may come when nobody waits for it
  return promise;
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const settings = readSettings(args);
    await demo(settings, stopSignal(settings.timeout));
    return 0;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    console.error(`postcopy: ${error.message}`);
    if (!(error instanceof UsageError)) return 1;
    console.error(USAGE);
    return 2;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
