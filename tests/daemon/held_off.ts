/** Restores by a daemon in a process of its own that are held off: their guests run, and lack nearly everything. */

import { assertEquals } from "@std/assert";
import type { TestImage } from "../support/images.ts";
import type { DaemonProcess } from "./daemon_process.ts";
import type { Waiting } from "./destinations.ts";

/** An image's blocks: more than any socket holds. */
export const PAGES = { ram: 6000 } as const;
/** A stream that is held off: it sends one page, and waits for hours. */
export const HELD_OFF = { maxPostcopyBandwidth: 1 } as const;

/** Has a guest of the image `vm` run at a destination, which lacks nearly everything; returns the session's name. */
export async function begin(daemon: DaemonProcess, waiting: Waiting): Promise<string> {
  const { id } = await daemon.migrate("vm", waiting.to, HELD_OFF);
  await waiting.runs();
  await daemon.reaches(id, "postcopy-active");
  return id;
}

/** Lets the stream go. */
export async function letGo(daemon: DaemonProcess, id: string): Promise<void> {
  const body = { maxPostcopyBandwidth: 0 };
  await daemon.client.ask(`/migrations/${id}`, { method: "PATCH", body });
}

/** Lets the stream go, and sees that all arrives, once. */
export async function completes(
  daemon: DaemonProcess,
  id: string,
  image: TestImage,
  waiting: Waiting,
): Promise<void> {
  await letGo(daemon, id);
  const { status, statistics } = await daemon.reaches(id, "ended");
  assertEquals([status, "ram" in statistics && statistics.ram.remaining], ["completed", 0]);
  await waiting.hasAll(image);
}
