/** A daemon with one image, whose sessions tests look at. */

import { assertEquals } from "@std/assert";
import { TestImage } from "../support/images.ts";
import { TestDaemon } from "./test_daemon.ts";

/** Bytes a second with which a restore is far from its end however long a test takes. */
export const SLOW = 1 << 14;

/** Starts a daemon with one image, `vm`. */
export async function withImage(
  test: (daemon: TestDaemon, image: TestImage) => Promise<void>,
  more = "",
  pages = 2048,
): Promise<void> {
  using image = await TestImage.make({ ram: pages, rom: 33 });
  await using daemon = await TestDaemon.start(`${more}\n`);
  await daemon.addImage(image.path, "vm");
  await test(daemon, image);
  assertEquals(daemon.mistakes, []);
}

/** Marks of hand-overs that lie beside the images. */
export function marksIn(daemon: TestDaemon): string[] {
  return [...Deno.readDirSync(daemon.images)].map(({ name }) => name)
    .filter((name) => name.includes(".postcopy-handover-"));
}

/** Sessions that are kept for the next daemon. */
export function keptIn(daemon: TestDaemon): string[] {
  return [...Deno.readDirSync(`${daemon.directory}/state`)].map(({ name }) => name)
    .filter((name) => name.endsWith(".session.json"));
}
