/** QEMUs at the ends of a move. */

import { WORKING_SET_ADDRESS } from "../../qemu/bare_machine.ts";
import {
  listenForMigration,
  setCapabilities,
  setParameters,
  UNLIMITED_BANDWIDTH,
  waitForMigration,
} from "../../qemu/migration.ts";
import { Qemu } from "../../qemu/qemu.ts";
import type { QemuBinary } from "../../qemu/qemu_binary.ts";
import { buildWriterSector, parseWriterLine, writerMemoryMiB } from "../../qemu/writer_guest.ts";
import { atExit } from "../support/at_exit.ts";
import { type End as Side, placementPrefix } from "../support/cpu_placement.ts";
import { cpuSeconds } from "../support/cpu_time.ts";
import { finalInfo } from "../support/final_info.ts";
import { warmHugePages } from "../support/warm_huge_pages.ts";
import { MemoryDigest } from "./content.ts";
import type { Departure, DestinationEnd, SourceEnd } from "./ends.ts";
import type { Move } from "./point.ts";

/** A migration that takes longer stands still. */
const DEADLINE_MS = 120_000;
/** ms; QEMU's default. */
const DOWNTIME_LIMIT = 300;
const LEVEL = 1;
/** Reports of a guest, ten a second, from which it is told how much it wrote: in fewer, one more or less counts. */
const LEAST_REPORTS = 6;
const PIECE = 1 << 24;

/** Starts one; it does not outlive this process. The content lies in its memory before its guest runs. */
async function start(move: Move, side: Side, binary: QemuBinary): Promise<Qemu> {
  const { size, rate, link, placement, content } = move;
  const guest = { workingSet: size, rate, fills: false };
  const seen = content.slice(binary.root.replace(/\/+$/, "").length);
  const qemu = await Qemu.start({
    binary,
    bootSector: buildWriterSector(guest),
    memoryMiB: writerMemoryMiB(guest),
    prefix: [...link[side].prefix, ...placementPrefix(placement, side)],
    ...side === "source"
      ? {
        args: ["-device", `loader,file=${seen},addr=${WORKING_SET_ADDRESS},force-raw=on`],
      }
      : { incoming: true, stopped: true },
  });
  const forget = atExit(() => Deno.kill(qemu.pid, "SIGKILL"));
  qemu.exited.finally(forget);
  return qemu;
}

/** Has it migrate over multifd. */
async function useMultifd(qemu: Qemu, { channels, compression }: Move): Promise<void> {
  await setCapabilities(qemu, { multifd: true, "return-path": true });
  await setParameters(qemu, {
    "multifd-channels": channels,
    "multifd-compression": compression,
    ...compression === "zstd" ? { "multifd-zstd-level": LEVEL } : {},
    "max-bandwidth": UNLIMITED_BANDWIDTH,
    "downtime-limit": DOWNTIME_LIMIT,
  });
}

/**
 * A digest of the working set of a guest that does not run; needs root. It is not that of the content: the firmware
 * uses the end of the memory before the guest runs.
 */
export async function digestOf(qemu: Qemu, size: number): Promise<string> {
  const answer = await qemu.monitor(`gpa2hva ${WORKING_SET_ADDRESS}`);
  const address = / is (0x[0-9a-f]+)/.exec(answer)?.[1];
  if (address === undefined) throw new Error(`QEMU does not say where its memory is: ${answer}`);
  using memory = await Deno.open(`/proc/${qemu.pid}/mem`);
  await memory.seek(Number(address), Deno.SeekMode.Start);
  const digest = new MemoryDigest();
  const bytes = new Uint8Array(PIECE);
  for (let left = size; left > 0;) {
    const count = await memory.read(bytes.subarray(0, Math.min(PIECE, left)));
    if (count === null) throw new Error(`Memory of the guest ends before ${left} bytes`);
    digest.add(bytes.subarray(0, count));
    left -= count;
  }
  return digest.end();
}

/** Starts a QEMU whose guest is to be moved, and lets it run. */
export async function startQemuSource(move: Move, binary: QemuBinary): Promise<SourceEnd> {
  const qemu = await startGuest(move, binary);
  await useMultifd(qemu, move);
  return {
    move: async (to) => {
      const since = qemu.qmp.events.items.length;
      const lines = qemu.serial.lines.items.length;
      await qemu.execute("migrate", { uri: to });
      await waitForMigration(qemu, ["completed"], { since, deadlineMs: DEADLINE_MS });
      const info = await finalInfo(qemu);
      return {
        milliseconds: info["total-time"]! - info["setup-time"]!,
        transferred: info.ram!.transferred,
        ...move.rate === 0 ? {} : writtenSince(qemu, lines),
      };
    },
    cpu: () => cpuSeconds(qemu.pid),
    // Under TCG a QEMU now and then loses what its guest writes while it is moved (7.2, seen).
    digest: async () => move.rate > 0 ? undefined : await digestOf(qemu, move.size),
    [Symbol.asyncDispose]: () => qemu[Symbol.asyncDispose](),
  };
}

/** What the guest wrote between the first and the last report that came behind so many lines. */
function writtenSince(qemu: Qemu, lines: number): Pick<Departure, "written"> {
  const reports = qemu.serial.lines.items.slice(lines).flatMap(({ text, arrivedAt }) => {
    const report = parseWriterLine(text);
    return report === undefined ? [] : [{ writes: report.writes, arrivedAt }];
  });
  if (reports.length < LEAST_REPORTS) return {};
  const [first, ...rest] = reports;
  const pages = rest.reduce((sum, { writes }) => sum + writes, 0);
  return { written: pages / (rest.at(-1)!.arrivedAt - first!.arrivedAt) * 1000 };
}

/** Starts a QEMU with the guest, which runs when this returns. */
export async function startGuest(move: Move, binary: QemuBinary): Promise<Qemu> {
  const qemu = await start(move, "source", binary);
  await qemu.serial.waitForLine("a report", (text) => parseWriterLine(text) !== undefined, {
    deadlineMs: DEADLINE_MS,
  });
  return qemu;
}

/** Starts a QEMU that waits for the guest, and does not run it. */
export async function startQemuDestination(
  move: Move,
  binary: QemuBinary,
): Promise<DestinationEnd> {
  const qemu = await start(move, "destination", binary);
  await useMultifd(qemu, move);
  warmHugePages(move.size);
  const { host } = move.link.destination;
  const since = qemu.qmp.events.items.length;
  const port = await listenForMigration(qemu, host);
  const before = await cpuSeconds(qemu.pid);
  return {
    address: `tcp:${host}:${port}`,
    arrived: async () => {
      await waitForMigration(qemu, ["completed"], { since, deadlineMs: DEADLINE_MS });
    },
    cpu: async () => await cpuSeconds(qemu.pid) - before,
    digest: () => digestOf(qemu, move.size),
    [Symbol.asyncDispose]: () => qemu[Symbol.asyncDispose](),
  };
}
