/** Faults as they happen, and how they heal. */

import { FAULT_TASK } from "../../client/faults/fault_task.ts";
import { MAIN_CHANNEL_TASK } from "../../client/incoming/main_channel_task.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import type { FaultRelay } from "../support/fault_relay.ts";
import { limitFiles } from "../support/file_limit.ts";
import { Random } from "../support/random.ts";
import type { DestinationEnd } from "./destination_ends.ts";
import type { Plan } from "./draw.ts";
import type { Act, Fault, ThreadName } from "./draw_faults.ts";
import type { ImageEnd } from "./image_end.ts";
import { harmImage } from "./image_faults.ts";
import { connectionsOf, hasCome } from "./moments.ts";
import { describeError, type RunLog } from "./run_log.ts";
import type { SourceEnd } from "./source_ends.ts";

/** All that a run consists of. */
export interface Scene {
  readonly plan: Plan;
  readonly log: RunLog;
  readonly relay: FaultRelay;
  readonly source: SourceEnd;
  readonly destination: DestinationEnd;
  readonly directory: string;
  /** Of an image: its file's content. */
  readonly content: Uint8Array;
  /** What happens by itself later. */
  readonly later: Promise<void>[];
  /** True when nothing can happen any more. */
  readonly isOver: () => boolean;
}

/** A fault that struck. */
export interface Struck {
  readonly act: Act;
  /** Whether the guest ran at the destination, or had been confirmed there, when it struck. */
  readonly late: boolean;
}

const root = new URL("../../", import.meta.url);
const THREADS: Readonly<Record<ThreadName, URL>> = {
  requests: new URL("server/sending/return_path_worker.ts", root),
  background: new URL("server/sending/background_worker.ts", root),
  precopy: new URL("server/live/precopy_worker.ts", root),
  fault: FAULT_TASK.thread,
  "main-channel": MAIN_CHANNEL_TASK.thread,
  compress: new URL("server/compression/compress_worker.ts", root),
  decompress: new URL("client/decompression/decompress_worker.ts", root),
};

/** Stall timeouts after which a connection breaks by which nothing passes; an end may notice sooner. */
const KERNEL_PATIENCE = 3;

/** Milliseconds for which a fault that heals lasts, unless what it leads to is seen before. */
const LASTS = 200;

/** Waits for each fault's moment and lets it strike, one after the other. Returns those that did. */
export async function strikeAll(scene: Scene, struck: Struck[]): Promise<void> {
  const random = new Random(scene.plan.seed ^ 0xfa17);
  for (const fault of scene.plan.faults) {
    if (!await comes(scene, fault)) return;
    const late = scene.destination.status.startsWith("postcopy");
    scene.log.add(`fault: ${JSON.stringify(fault.act)}`);
    struck.push({ act: fault.act, late });
    try {
      await strike(scene, fault.act, random);
    } catch (error) {
      scene.log.add(`fault refused: ${describeError(error)}`);
    }
  }
}

/** Waits until something holds, for so many milliseconds or to the end. */
async function either(scene: Scene, holds: () => boolean, milliseconds: number): Promise<boolean> {
  const end = performance.now() + milliseconds;
  while (!holds()) {
    if (scene.isOver() || performance.now() > end) return holds();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return true;
}

function comes({ relay, source, destination, ...scene }: Scene, { moment }: Fault) {
  const now = () => hasCome(moment, relay, source, destination, scene.plan);
  return either({ relay, source, destination, ...scene }, now, Infinity);
}

async function strike(scene: Scene, act: Act, random: Random): Promise<void> {
  const { relay, source, destination } = scene;
  switch (act.kind) {
    case "cut":
      for (const each of connectionsOf(relay, act.channel, scene.plan)) each.cut();
      return;
    case "cut-next":
      for (const bytes of act.bytes) {
        relay.next((next) => act.back ? next.cutBackAt(bytes) : next.cutAt(bytes));
      }
      // These strike when there is something to recover.
      for (const each of connectionsOf(relay, "all", scene.plan)) each.cut();
      return;
    case "freeze":
      return await freeze(scene, act);
    case "restart":
      return await restart(scene);
    case "file":
      return await harm(scene, act.how, random);
    case "full": {
      limitFiles(act.bytes);
      try {
        await either(scene, () => destination.pauseReason !== undefined, LASTS);
        scene.log.add(`the file could not grow: ${destination.pauseReason?.message}`);
      } finally {
        limitFiles("unlimited");
      }
      return;
    }
    case "kill-thread":
      return ThreadPool.shared.kill(THREADS[act.thread]);
    case "pause":
      await (act.end === "source" ? source : destination).pause();
      await either(scene, () => source.status === "postcopy-paused", LASTS);
      return source.recover();
    case "move": {
      const to = await destination.recover();
      relay.redirect(to);
      for (const each of connectionsOf(relay, "all", scene.plan)) each.cut();
    }
  }
}

async function freeze(scene: Scene, act: Extract<Act, { kind: "freeze" }>): Promise<void> {
  const frozen = connectionsOf(scene.relay, act.channel, scene.plan);
  for (const each of frozen) each.freeze(act.way);
  if (act.thaw === "never") {
    // The kernels of both ends notice in the end that nothing comes back.
    const late = async () => {
      await either(scene, () => false, scene.plan.stallTimeout * KERNEL_PATIENCE);
      for (const each of frozen) each.cut();
    };
    scene.later.push(late());
    return;
  }
  const count = scene.relay.connections.length;
  if (act.thaw === "soon") await either(scene, () => false, scene.plan.stallTimeout / 4);
  else await either(scene, () => scene.relay.connections.length > count, 30_000);
  scene.log.add("thaw");
  for (const each of frozen) each.thaw();
}

/** Kills the source; another goes on when the guest needs it. */
async function restart({ source, relay, destination, log, ...scene }: Scene): Promise<void> {
  await source.kill();
  // Whoever was silent says no more, and the death of a process is heard.
  for (const each of connectionsOf(relay, "all", scene.plan)) each.thaw();
  const all = { source, relay, destination, log, ...scene };
  const known = ["postcopy-paused", "completed", "failed", "setup"];
  await either(all, () => known.includes(destination.status), 30_000);
  log.add(`restart: destination is ${destination.status}`);
  if (destination.status === "postcopy-paused") return await source.again();
  (source as ImageEnd).giveUp();
}

async function harm(
  { directory, content, source, log, ...scene }: Scene,
  how: Extract<Act, { kind: "file" }>["how"],
  random: Random,
): Promise<void> {
  const heal = harmImage(`${directory}/image`, how, content, random);
  const all = { directory, content, source, log, ...scene };
  try {
    await either(all, () => source.status === "postcopy-paused", LASTS);
    log.add(`healed, source is ${source.status}: ${source.pauseReason?.message}`);
  } finally {
    heal();
  }
  if (source.status === "postcopy-paused") source.recover();
}
