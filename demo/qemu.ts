// deno-lint-ignore-file no-console -- a command

/**
 * `deno task demo:qemu`: a guest that runs in QEMU is saved to a file, killed, and runs on in a second
 * QEMU from our server, which sends the pages it touches first.
 *
 * @module
 */

import {
  bytesArgument,
  countArgument,
  type Options,
  parseOptions,
  secondsArgument,
  UsageError,
} from "../migration/command/arguments.ts";
import { optionsHelp } from "../migration/command/help.ts";
import { formatTable } from "../migration/report/table.ts";
import { formatBytes, formatCount, formatDuration } from "../migration/report/units.ts";
import type { SourceStatistics } from "../server/mod.ts";
import { parseRoundLine, workingSetPages } from "../qemu/boot_sector.ts";
import { capture } from "../qemu/capture.ts";
import { checkRounds, type GuestMachine, startGuest, waitForRound } from "../qemu/guest.ts";
import { listenForPostcopy, waitForMigration } from "../qemu/migration.ts";
import { whyNoQemu } from "../qemu/qemu_binary.ts";
import type { Qemu } from "../qemu/qemu.ts";
import { ChildProcess } from "./child_process.ts";
import { stopSignal } from "./stop_signal.ts";

const OPTIONS = {
  memory: {
    value: "MIB",
    help: "what the guest changes again and again: a power of two; default 64",
  },
  bandwidth: {
    value: "BYTES",
    help:
      "bytes a second of the background stream, 0 for no limit; default 64M, which leaves time " +
      "for requests. Pages that the guest waits for are never limited",
  },
  timeout: { value: "SECONDS", help: "give up after this time; default 120" },
} as const satisfies Options;

const USAGE = [
  "deno task demo:qemu [options]",
  ...optionsHelp(OPTIONS),
  "QEMU_SYSTEM names another QEMU than /usr/bin/qemu-system-x86_64.",
].join("\n");

/** MiB of the machine besides what its guest changes. */
const REST_MIB = 16;
/** Rounds through the memory before the guest is saved, and after it was restored. */
const ROUNDS = 3;
/** Pages between two signs of life. */
const TICK = 64;

interface Settings {
  readonly machine: GuestMachine;
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
  const workingSetMiB = countArgument("memory", values.memory ?? "64");
  try {
    workingSetPages({ workingSetMiB });
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message) : error;
  }
  return {
    machine: { workingSetMiB, memoryMiB: workingSetMiB + REST_MIB, tick: TICK },
    bandwidth: bytesArgument("bandwidth", values.bandwidth ?? "64M"),
    timeout: secondsArgument("timeout", values.timeout ?? "120"),
  };
}

/** The demo's QEMUs: a stop ends them at once, and with them everything that waits for them. */
class Stage implements AsyncDisposable {
  readonly #qemus: Qemu[] = [];
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", () => void this[Symbol.asyncDispose]());
  }

  /** Starts a QEMU; it ends with the stage. */
  async start(machine: GuestMachine): Promise<Qemu> {
    this.#signal.throwIfAborted();
    const qemu = await startGuest(machine);
    this.#qemus.push(qemu);
    if (this.#signal.aborted) await qemu.close();
    this.#signal.throwIfAborted();
    return qemu;
  }

  /** Ends what was started. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#qemus.map((qemu) => qemu.close()));
  }
}

/** Boots a guest, saves it and kills its QEMU; returns all that it had printed. */
async function save(stage: Stage, machine: GuestMachine, image: string): Promise<string> {
  const qemu = await stage.start(machine);
  const { major, minor, micro } = qemu.version;
  console.log(
    `QEMU ${major}.${minor}.${micro} boots a guest that changes ${machine.workingSetMiB} MiB of ` +
      "memory again and again, and checks it.",
  );
  await waitForRound(qemu, ROUNDS);
  const begin = performance.now();
  await capture(qemu, image);
  const took = formatDuration((performance.now() - begin) * 1e6);
  await qemu.close();
  const { size } = await Deno.stat(image);
  const printed = qemu.serial.text;
  console.log(
    `After round ${checkRounds(printed)} it is saved to a file of ${formatBytes(size)} ` +
      `in ${took}, and its QEMU killed.`,
  );
  return printed;
}

/** What is known of a restore; times in ms since the destination heard of it. */
interface Restored {
  /** Until the guest printed anything. */
  readonly firstOutput: number;
  /** Until all of its memory was there. */
  readonly total: number;
  /** What `serve` says. */
  readonly source: SourceStatistics;
}

/** Lets a second QEMU run the saved guest on. */
async function restore(
  qemu: Qemu,
  image: string,
  bandwidth: number,
  firstRound: number,
): Promise<Restored> {
  const to = `tcp:127.0.0.1:${await listen(qemu)}`;
  const limit = ["--max-postcopy-bandwidth", `${bandwidth}`];
  const main = new URL("../server/main.ts", import.meta.url).pathname;
  console.log(`A second QEMU waits at ${to}: server/main.ts serve guest.img --to ${to}\n`);
  let source: SourceStatistics | undefined;
  await using server = new ChildProcess<SourceStatistics>(
    "source",
    ["run", "-A", main, "serve", image, "--to", to, ...limit, "--json"],
    (statistics) => source = statistics,
  );
  const heard = qemu.qmp.waitForEvent("MIGRATION", ({ status }) => status === "active");
  const completed = waitForMigration(qemu, ["completed"], { since: 0 });
  completed.catch(() => {}); // the source knows more
  await server.succeeded();
  await completed;
  const begin = (await heard).arrivedAt;
  const arrived = await qemu.qmp.waitForEvent("MIGRATION", (data) => data.status === "completed");
  const firstOutput = await qemu.serial.firstOutput() - begin;
  for (let round = firstRound; round < firstRound + ROUNDS; round++) {
    const { text, arrivedAt } = await qemu.serial.waitForLine(
      `round ${round}`,
      (line) => parseRoundLine(line)?.round === round || line.includes("BAD"),
    );
    console.log(`  ${formatDuration((arrivedAt - begin) * 1e6).padStart(8)}  ${shorten(text)}`);
  }
  if (source === undefined) throw new Error("Source ended well but said nothing");
  return { firstOutput, total: arrived.arrivedAt - begin, source };
}

async function listen(qemu: Qemu): Promise<number> {
  try {
    return await listenForPostcopy(qemu);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : `${cause}`;
    const remedy = "root or the sysctl vm.unprivileged_userfaultfd=1 let QEMU do it";
    throw new Error(`QEMU cannot be a postcopy destination: ${reason}: ${remedy}`, { cause });
  }
}

/** Takes the dots out of a line of the guest's. */
function shorten(line: string): string {
  return line.replace(/^\.+/, "... ");
}

function figureLines({ firstOutput, total, source }: Restored): string[] {
  const { ram } = source;
  const milliseconds = (value: number): string => formatDuration(value * 1e6);
  return formatTable([
    ["first sign of life after", milliseconds(firstOutput)],
    ["all memory there after", milliseconds(total)],
    ["memory", formatBytes(ram.total)],
    ["pages sent", formatCount(ram.normal)],
    ["zero pages", formatCount(ram.duplicate)],
    ["pages asked for", formatCount(ram["postcopy-requests"])],
    ["mean service time of a request", formatDuration(source["request-service-time"])],
  ], { indent: "  " });
}

async function demo({ machine, bandwidth }: Settings, signal: AbortSignal): Promise<void> {
  const missing = await whyNoQemu();
  if (missing !== undefined) throw new Error(missing);
  const directory = await Deno.makeTempDir({ prefix: "postcopy-demo-" });
  try {
    await using stage = new Stage(signal);
    const image = `${directory}/guest.img`;
    const before = await save(stage, machine, image);
    const rounds = checkRounds(before);
    const qemu = await stage.start({ ...machine, incoming: true });
    const restored = await restore(qemu, image, bandwidth, rounds + 1);
    await qemu.close(); // only now is all of its output there
    checkRounds(before + qemu.serial.text);
    console.log(
      `\nThe guest went on in round ${rounds + 1}, where it had stopped, and found no byte ` +
        "wrong.\n",
    );
    console.log(figureLines(restored).join("\n"));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function main(args: readonly string[]): Promise<number> {
  let signal: AbortSignal | undefined;
  try {
    const settings = readSettings(args);
    signal = stopSignal(settings.timeout);
    await demo(settings, signal);
    return 0;
  } catch (error) {
    const reason = signal?.aborted ? signal.reason : error;
    if (!(reason instanceof Error)) throw reason;
    console.error(`postcopy: ${reason.message}`);
    if (!(reason instanceof UsageError)) return 1;
    console.error(USAGE);
    return 2;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
