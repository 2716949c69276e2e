/** Where in a file QEMU's stream begins. */

import type { MappedMemory } from "../../ffi/memory.ts";
import { STREAM_MAGIC, STREAM_VERSION } from "../../migration/protocol/mod.ts";
import { hexOf, isStream } from "../file_kind.ts";
import { ImageError } from "../image_error.ts";
import { type LibvirtSave, readLibvirtSave, requireUnpacked } from "../libvirt/libvirt_save.ts";

/** The place of a stream in a file. */
export interface StreamPlace {
  /** Bytes before it. */
  readonly offset: number;
  /** What libvirt wrote before it. */
  readonly libvirt?: LibvirtSave;
}

/** Bytes of magic and version. */
const HEADER_BYTES = 8;
/** Bytes at a file's start that are searched for a stream's header, wherever it is. */
const SEARCHED_BYTES = 16 * 1024 * 1024;
/** Behind them it is looked for where people put streams: at whole MiB, so far. */
const LAST_PLACE = 1024 * 1024 * 1024;
const PLACES_APART = 1024 * 1024;

/**
 * What files beside an image are named after: several streams may lie in one file, and each keeps
 * its own.
 *
 * @param path the image's name
 * @param offset bytes before the stream
 * @param libvirt what libvirt wrote there
 */
export function streamName(path: string, offset: number, libvirt: LibvirtSave | undefined): string {
  return offset === 0 || libvirt !== undefined ? path : `${path}.offset-${offset}`;
}

/**
 * Finds the stream in a file.
 *
 * @param path the file's name, for errors
 * @param file all of it
 * @param offset where it begins, when that is known: as QEMU wrote it with `file:FILE,offset=N`
 * @returns undefined when the file begins neither with a stream nor as a file of libvirt
 * @throws {ImageError} when there is none at `offset`, or one of libvirt's that cannot be served
 */
export function findStream(
  path: string,
  file: MappedMemory,
  offset?: number,
): StreamPlace | undefined {
  if (offset !== undefined) {
    requireStream(path, file, offset, "give the offset that it was written with, in bytes");
    return { offset };
  }
  const libvirt = readLibvirtSave(path, file);
  if (libvirt === undefined) return beginsAt(file, 0) ? { offset: 0 } : undefined;
  requireUnpacked(path, libvirt);
  const remedy = "see that the file is whole, or save the domain again";
  requireStream(path, file, libvirt.streamOffset, remedy);
  return { offset: libvirt.streamOffset, libvirt };
}

/**
 * Looks for a stream in a file that does not begin with one.
 *
 * @returns where its header seems to be, in bytes: a hint, for memory may hold such bytes, too
 */
export function seekStream(file: MappedMemory): number | undefined {
  const header = new Uint8Array(HEADER_BYTES);
  new DataView(header.buffer).setUint32(0, STREAM_MAGIC);
  new DataView(header.buffer).setUint32(4, STREAM_VERSION);
  const start = file.bytes(0, Math.min(SEARCHED_BYTES, file.length));
  for (let at = start.indexOf(header[0]!); at >= 0; at = start.indexOf(header[0]!, at + 1)) {
    if (header.every((byte, i) => start[at + i] === byte)) return at;
  }
  const last = Math.min(LAST_PLACE, file.length - HEADER_BYTES);
  for (let at = SEARCHED_BYTES; at <= last; at += PLACES_APART) {
    const bytes = file.bytes(at, HEADER_BYTES);
    if (header.every((byte, i) => bytes[i] === byte)) return at;
  }
  return undefined;
}

function beginsAt(file: MappedMemory, offset: number): boolean {
  return offset + 4 <= file.length && isStream(file.bytes(offset, 4));
}

function requireStream(path: string, file: MappedMemory, offset: number, remedy: string): void {
  if (offset >= file.length) {
    const problem = `No stream at byte ${offset} of an image that has ${file.length} bytes`;
    throw new ImageError("not-an-image", path, problem, remedy);
  }
  if (beginsAt(file, offset)) return;
  const head = file.bytes(offset, Math.min(16, file.length - offset));
  const problem = `No stream of QEMU where it should begin, but bytes ${hexOf(head)},`;
  throw new ImageError("not-an-image", path, problem, remedy, { offset });
}
