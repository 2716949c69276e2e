/** One restore of a guest in a QEMU: by `serve`, by a QEMU in which it runs, or of all memory first. */

import { restorePrecopy } from "../../qemu/capture.ts";
import { faultLatency, liveMigrate } from "../../qemu/live_migrate.ts";
import { listenForPostcopy, queryMigrate } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { cpuSecondsWithout } from "../support/cpu_time.ts";
import { finalInfo } from "../support/final_info.ts";
import type { End } from "../support/cpu_placement.ts";
import { runServe } from "../support/serve.ts";
import { warmHugePages } from "../support/warm_huge_pages.ts";
import { type CapturedGuest, type Luggage, luggageOf, startQemu, waitForWork } from "./captured.ts";
import type { Figures, Timing } from "./figures.ts";
import { observe, type Observed } from "./observe.ts";
import { type Placement, placeVcpu, prefixOf, vcpuThread } from "./placement.ts";

/** How a guest is restored. */
export interface RestoreSetup {
  readonly placement: Placement;
  /** Bytes a second of the background stream; 0 for no limit. */
  readonly limit: number;
  readonly timing: Timing;
  /** Further words of `serve`'s command line. */
  readonly serveArgs?: readonly string[];
}

/** Lines of work of a guest at a QEMU source before it moves: its emulator is warm by then. */
const LINES_AT_SOURCE = 15;

/** A QEMU that waits for a guest. */
class Waiting implements AsyncDisposable {
  private constructor(readonly qemu: Qemu, readonly vcpu: number) {}

  static async start(
    { guest }: CapturedGuest,
    placement: Placement,
    end: End,
  ): Promise<Waiting> {
    warmHugePages(guest.machine.memoryMiB! * 2 ** 20);
    const prefix = prefixOf(placement, end);
    const qemu = await startQemu({ ...guest.machine, incoming: true, prefix });
    const vcpu = await vcpuThread(qemu);
    if (end === "destination") await placeVcpu(vcpu, placement);
    return new Waiting(qemu, vcpu);
  }

  /** CPU seconds until now, without the guest's processor. */
  cpu(): Promise<number> {
    return cpuSecondsWithout(this.qemu.pid, this.vcpu);
  }

  /** Gives it all memory, then lets the guest run. */
  async restoreFirst(path: string): Promise<void> {
    await restorePrecopy(this.qemu, path);
    await this.qemu.resume();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.qemu.close();
  }
}

/** What is known of a restore when it is over. */
interface Restored {
  readonly sourceCpu: number;
  readonly destinationCpu: number;
  /** Pages that the source was asked for. */
  readonly requests: number;
}

async function figuresOf(
  { qemu }: Waiting,
  { ranAt, seen }: Observed,
  { sourceCpu, destinationCpu, requests }: Restored,
): Promise<Figures> {
  const since = async (status: string): Promise<number> => {
    const matches = (data: Readonly<Record<string, unknown>>) => data["status"] === status;
    return (await qemu.qmp.waitForEvent("MIGRATION", matches)).arrivedAt;
  };
  const heard = await since("active");
  const info = await queryMigrate(qemu);
  const latency = faultLatency(info);
  return {
    seen,
    blocktime: info["postcopy-blocktime"],
    faults: latency?.buckets.reduce((sum, count) => sum + count, 0) ?? requests,
    latency: latency?.mean,
    running: ranAt - heard,
    total: await since("completed") - heard,
    sourceCpu,
    destinationCpu,
  };
}

/** Restores a guest with all of its memory there before it runs: what it loses then is the floor. */
export async function restoreFirst(
  captured: CapturedGuest,
  { placement, timing }: RestoreSetup,
): Promise<Figures> {
  await using destination = await Waiting.start(captured, placement, "destination");
  const { qemu } = destination;
  const [{ seen }] = await Promise.all([
    observe(qemu, captured.guest, () => captured.luggage, timing),
    destination.restoreFirst(captured.path),
  ]);
  return { seen };
}

/** Restores a guest by `serve`. */
export async function restoreByServe(
  captured: CapturedGuest,
  { placement, limit, timing, serveArgs }: RestoreSetup,
): Promise<Figures> {
  await using destination = await Waiting.start(captured, placement, "destination");
  const { qemu } = destination;
  const port = await listenForPostcopy(qemu);
  const before = await destination.cpu();
  const serving = async (): Promise<Restored> => {
    const { source, sourceCpu } = await runServe({
      image: captured.path,
      to: `tcp:127.0.0.1:${port}`,
      mode: "preempt-full",
      maxBandwidth: limit,
      prefix: prefixOf(placement, "source"),
      ...serveArgs === undefined ? {} : { args: serveArgs },
    });
    const destinationCpu = await destination.cpu() - before;
    return { sourceCpu, destinationCpu, requests: source.ram["postcopy-requests"] };
  };
  const [observed, restored] = await Promise.all([
    observe(qemu, captured.guest, () => captured.luggage, timing),
    serving(),
  ]);
  return await figuresOf(destination, observed, restored);
}

/**
 * Restores a guest by postcopy from a second QEMU, in which it runs: from the same file, with all memory
 * first.
 */
export async function restoreByQemu(
  captured: CapturedGuest,
  { placement, limit, timing }: RestoreSetup,
): Promise<Figures> {
  await using source = await Waiting.start(captured, placement, "source");
  await using destination = await Waiting.start(captured, placement, "destination");
  await source.restoreFirst(captured.path);
  await waitForWork(source.qemu, captured.guest, LINES_AT_SOURCE);
  const since = source.qemu.qmp.events.items.length;
  let luggage: Luggage | undefined;
  /** The destination's first line comes after the source's last. */
  const luggageOfSource = (): Luggage => {
    const isStop = ({ name }: { name: string }) => name === "STOP";
    const { arrivedAt } = source.qemu.qmp.events.items.slice(since).find(isStop)!;
    return luggage ??= luggageOf(source.qemu, captured.guest, arrivedAt);
  };
  const before = [await source.cpu(), await destination.cpu()] as const;
  const migrating = async (): Promise<Restored> => {
    const limits = limit === 0 ? {} : { maxBandwidth: limit, maxPostcopyBandwidth: limit };
    await liveMigrate(source.qemu, destination.qemu, limits);
    const sourceCpu = await source.cpu() - before[0];
    const destinationCpu = await destination.cpu() - before[1];
    const info = await finalInfo(source.qemu);
    return { sourceCpu, destinationCpu, requests: info.ram?.["postcopy-requests"] ?? 0 };
  };
  const [observed, restored] = await Promise.all([
    observe(destination.qemu, captured.guest, luggageOfSource, timing),
    migrating(),
  ]);
  return await figuresOf(destination, observed, restored);
}
