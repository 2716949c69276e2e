/** A migration from QEMU to QEMU of a guest that rests on memory with a given content. */

import {
  listenForMigration,
  type MigrationInfo,
  setCapabilities,
  setParameters,
  UNLIMITED_BANDWIDTH,
  waitForMigration,
} from "../../qemu/migration.ts";
import { Qemu } from "../../qemu/qemu.ts";
import type { QemuBinary } from "../../qemu/qemu_binary.ts";
import { atExit } from "../support/at_exit.ts";
import { type End, placementPrefix } from "../support/cpu_placement.ts";
import { cpuSeconds } from "../support/cpu_time.ts";
import { finalInfo } from "../support/final_info.ts";
import { haltedBios } from "./halted_bios.ts";
import { LinkMeter } from "./link_use.ts";
import { checkSameFiles } from "./same_bytes.ts";
import { type CompressionFigures, type Move, type MoveFigures, SETTINGS, type Way } from "./way.ts";

/** A migration that takes longer stands still. */
const DEADLINE_MS = 180_000;

/** Starts one end on a file of memory; it does not outlive this process. */
async function start(
  move: Move,
  end: End,
  binary: QemuBinary,
  bios: string,
  memory: string,
): Promise<Qemu> {
  const { size, link, placement } = move;
  const qemu = await Qemu.start({
    binary,
    memoryMiB: size / 2 ** 20,
    incoming: end === "destination",
    prefix: [...link[end].prefix, ...placementPrefix(placement, end)],
    args: [
      ...["-bios", bios],
      ...["-object", `memory-backend-file,id=memory,size=${size},${memory}`],
      ...["-machine", "memory-backend=memory"],
    ],
  });
  const forget = atExit(() => Deno.kill(qemu.pid, "SIGKILL"));
  qemu.exited.finally(forget);
  return qemu;
}

/** Turns compression on at one end. */
async function compress(qemu: Qemu): Promise<void> {
  await setCapabilities(qemu, { compress: true });
  await setParameters(qemu, {
    "compress-level": SETTINGS.level,
    "compress-threads": SETTINGS.compressThreads,
    "decompress-threads": SETTINGS.decompressThreads,
    "compress-wait-thread": SETTINGS.wait,
  });
}

function compressionFigures(info: MigrationInfo): CompressionFigures | undefined {
  const found = info["compression"] as Readonly<Record<string, number>> | undefined;
  return found === undefined ? undefined : {
    pages: found["pages"]!,
    busyRate: found["busy-rate"]!,
    compressedSize: found["compressed-size"]!,
    compressionRate: found["compression-rate"]!,
  };
}

/**
 * Starts two QEMUs and moves the guest of one to the other. The guest's processor is halted from its
 * first instructions on, and nothing writes to its memory.
 *
 * @throws {Error} when either QEMU fails, or a byte is wrong at the destination
 */
export async function moveByQemu(
  move: Move,
  { method }: Way,
  binary: QemuBinary,
): Promise<MoveFigures> {
  const bios = `${move.directory}/bios`;
  const arrived = `${move.directory}/arrived`;
  Deno.writeFileSync(bios, haltedBios());
  try {
    const there = `mem-path=${arrived},share=on`;
    const here = `mem-path=${move.content},share=off`;
    await using destination = await start(move, "destination", binary, bios, there);
    await using source = await start(move, "source", binary, bios, here);
    if (method !== undefined) { for (const qemu of [source, destination]) await compress(qemu); }
    await setParameters(source, {
      "max-bandwidth": UNLIMITED_BANDWIDTH,
      "downtime-limit": SETTINGS.downtimeLimit,
    });
    const figures = await migrate(move, source, destination);
    checkSameFiles(move.content, arrived, move.size);
    return figures;
  } finally {
    for (const path of [bios, arrived]) Deno.removeSync(path);
  }
}

async function migrate(move: Move, source: Qemu, destination: Qemu): Promise<MoveFigures> {
  const { link, rate } = move;
  const { host } = link.destination;
  const port = await listenForMigration(destination, host);
  const since = source.qmp.events.items.length;
  const sinceDestination = destination.qmp.events.items.length;
  const cpu = [await cpuSeconds(source.pid), await cpuSeconds(destination.pid)] as const;
  using meter = new LinkMeter(link, rate, source.pid);
  const begin = Date.now();
  await source.execute("migrate", { uri: `tcp:${host}:${port}` });
  await waitForMigration(source, ["completed"], { since, deadlineMs: DEADLINE_MS });
  const info = await finalInfo(source);
  const resume = await destination.qmp.waitForEvent("RESUME", undefined, {
    since: sinceDestination,
  });
  const stop = await source.qmp.waitForEvent("STOP", undefined, { since });
  const { share, flowing } = meter.end();
  return {
    total: resume.timestamp - begin,
    reportedTotal: info["total-time"]!,
    downtime: resume.timestamp - stop.timestamp,
    reportedDowntime: info.downtime,
    transferred: info.ram!.transferred,
    compression: compressionFigures(info),
    linkUse: share,
    flowing,
    sourceCpu: await cpuSeconds(source.pid) - cpu[0],
    destinationCpu: await cpuSeconds(destination.pid) - cpu[1],
  };
}
