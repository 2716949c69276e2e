/** Restores by a daemon that is not this process, which are held off: their guests run, and lack nearly everything. */

import { assertEquals } from "@std/assert";
import type { TestImage } from "../support/images.ts";
import type { DaemonCalls } from "./daemon_calls.ts";
import type { Waiting } from "./destinations.ts";

/** A daemon as it is asked. */
type Daemon = Pick<DaemonCalls, "client" | "migrate" | "reaches">;

/** An image's blocks: more than any socket holds. */
export const PAGES = { ram: 6000 } as const;
/** A stream that is held off: it sends one page, and waits for hours. */
export const HELD_OFF = { maxPostcopyBandwidth: 1 } as const;

/** Has a guest of an image run at a destination, which lacks nearly everything; returns the session's name. */
export async function begin(daemon: Daemon, waiting: Waiting, image = "vm"): Promise<string> {
  const { id } = await daemon.migrate(image, waiting.to, HELD_OFF);
  await waiting.runs();
  await daemon.reaches(id, "postcopy-active");
  return id;
}

/** Lets the stream go. */
export async function letGo(daemon: Daemon, id: string): Promise<void> {
  const body = { maxPostcopyBandwidth: 0 };
  await daemon.client.ask(`/migrations/${id}`, { method: "PATCH", body });
}

/** Lets the stream go, and sees that all arrives, once. */
export async function completes(
  daemon: Daemon,
  id: string,
  image: TestImage,
  waiting: Waiting,
): Promise<void> {
  await letGo(daemon, id);
  const { status, statistics } = await daemon.reaches(id, "ended");
  assertEquals([status, "ram" in statistics && statistics.ram.remaining], ["completed", 0]);
  await waiting.hasAll(image);
}
