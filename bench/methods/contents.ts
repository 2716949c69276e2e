/** What the guest's memory holds. */

import type { QemuBinary } from "../../qemu/qemu_binary.ts";
import { guestSharesText } from "../support/guest_content.ts";
import { writeGuestFile } from "../support/guest_file.ts";
import { hostFiles } from "./host_files.ts";
import { captureLinuxGuest } from "./linux_guest.ts";

/** Contents by the names of the command line: made up, and captured. */
export const CONTENT_NAMES = ["mix", "guest"] as const;

/** One of {@linkcode CONTENT_NAMES}. */
export type ContentName = typeof CONTENT_NAMES[number];

/** Where a content comes from. */
export interface ContentSources {
  /** A kernel for the guest that is captured; without one, files of this machine stand in for it. */
  readonly kernel: string | undefined;
  /** A QEMU to boot it in. */
  readonly binary: QemuBinary;
}

const PAGE = 4096;
const SEED = 1;
/** Share of the memory that files fill, when there is no kernel; the rest is zero. */
const FILES_SHARE = 0.75;

/** Lays files out as a page cache does: each from the begin of a page, zeros behind its end. */
function writePageCache(path: string, size: number): void {
  using file = Deno.createSync(path);
  file.truncateSync(size);
  let at = 0;
  for (const data of hostFiles(size * FILES_SHARE)) {
    const room = Math.ceil(data.length / PAGE) * PAGE;
    if (at + room > size) break;
    file.seekSync(at, Deno.SeekMode.Start);
    let done = 0;
    while (done < data.length) done += file.writeSync(data.subarray(done));
    at += room;
  }
}

/** Counts the pages of a file that hold nothing but zeros, as a share of all. */
export function zeroShare(path: string): number {
  using file = Deno.openSync(path);
  const words = new BigUint64Array(PAGE / 8);
  const bytes = new Uint8Array(words.buffer);
  let pages = 0;
  let zero = 0;
  while (file.readSync(bytes) === PAGE) {
    pages++;
    if (words.every((word) => word === 0n)) zero++;
  }
  return zero / pages;
}

/**
 * Makes a file of a guest's memory.
 *
 * @param size bytes
 * @returns what it is, for a table's caption
 */
export async function makeContent(
  name: ContentName,
  path: string,
  size: number,
  { kernel, binary }: ContentSources,
): Promise<string> {
  if (name === "mix") {
    writeGuestFile(path, size, SEED);
    return `made up, pages in runs of 64 KiB: ${guestSharesText()}`;
  }
  if (kernel === undefined) writePageCache(path, size);
  else await captureLinuxGuest(path, size, kernel, binary);
  const zero = `${(zeroShare(path) * 100).toFixed(0)} % zero pages`;
  if (kernel === undefined) {
    return `NO CAPTURED GUEST, there is no kernel in /boot and none was named with --kernel: files ` +
      `of this machine as a page cache holds them, ${zero}`;
  }
  const booted = kernel.slice(kernel.lastIndexOf("/") + 1);
  return `captured: a guest that booted ${booted} and ran perl, bash, sort, tar and gzip on files ` +
    `in memory, ${zero}`;
}
