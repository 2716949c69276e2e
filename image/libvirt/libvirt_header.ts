/**
 * The header of a file that libvirt saved a domain into: `virsh save`, managed save, the memory of an
 * external snapshot (libvirt src/qemu/qemu_saveimage.h; seen in files of libvirt 9.0 and 11.3). Behind it
 * lie the domain's XML, then room for a longer one, then QEMU's stream.
 */

import { DAMAGED_REMEDY, ImageError, TRUNCATED_REMEDY } from "../image_error.ts";

/** Bytes of the header. */
export const LIBVIRT_HEADER_BYTES = 92;

const SAVED = "LibvirtQemudSave";
/** What stands there until all of it is written, and for ever where that failed. */
const PARTIAL = "LibvirtQemudPart";
/** The newest version of the header, which is that of all files since 2011. */
const VERSION = 2;
/** Where the five words of 32 bits lie: in the byte order of the host that wrote them. */
const WORDS_OFFSET = SAVED.length;

/** How the stream is stored, by libvirt's numbers. */
const FORMATS: readonly LibvirtFormat[] = [
  "raw",
  "gzip",
  "bzip2",
  "xz",
  "lzop",
  "zstd",
  "sparse",
];

/** How the stream is stored: as it is (`sparse` is QEMU's mapped-ram), or as a program of that name packs it. */
export type LibvirtFormat = "raw" | "gzip" | "bzip2" | "xz" | "lzop" | "zstd" | "sparse";

/** What the header says. */
export interface LibvirtHeader {
  /** Whether libvirt is to let the guest go on when it restores it. */
  readonly running: boolean;
  /** How the stream is stored. */
  readonly format: LibvirtFormat;
  /** Where the stream begins, in bytes from the start of the file. */
  readonly streamOffset: number;
}

/** Whether a file that starts so was written by libvirt, wholly or not. */
export function isLibvirtSave(head: Uint8Array): boolean {
  const magic = magicOf(head);
  return magic === SAVED || magic === PARTIAL;
}

/**
 * Reads the header.
 *
 * @param path the file's name, for errors
 * @param head its first bytes: {@linkcode LIBVIRT_HEADER_BYTES}, or all there are
 * @param size bytes of the file
 * @throws {ImageError} when it is not whole, not complete, or of a kind that is not known
 */
export function readLibvirtHeader(path: string, head: Uint8Array, size: number): LibvirtHeader {
  if (head.length < LIBVIRT_HEADER_BYTES) {
    const problem = `Save file of libvirt that ends inside its header, after ${head.length} bytes`;
    throw new ImageError("truncated", path, problem, TRUNCATED_REMEDY);
  }
  if (magicOf(head) === PARTIAL) {
    throw new ImageError(
      "truncated",
      path,
      `Save file of libvirt that is incomplete, by its mark ${PARTIAL}`,
      "wait until virsh save has ended; if that failed, save the domain again",
    );
  }
  const [version, dataLength, running, format] = readWords(path, head);
  const kind = FORMATS[version === 1 ? 0 : format];
  if (kind === undefined) {
    const problem = `Save file of libvirt in an unknown format: ${format}`;
    const remedy = `save the domain again as ${FORMATS.join(", ")} (virsh save --image-format)`;
    throw new ImageError("unsupported", path, problem, remedy);
  }
  if (dataLength === 0) {
    const problem = "Save file of libvirt without the XML of its domain";
    throw new ImageError("malformed", path, problem, DAMAGED_REMEDY, { offset: WORDS_OFFSET + 4 });
  }
  const streamOffset = LIBVIRT_HEADER_BYTES + dataLength;
  if (streamOffset >= size) {
    const problem = `Save file of libvirt that ends before its stream, which begins at byte ` +
      `${streamOffset}, after ${size} bytes`;
    throw new ImageError("truncated", path, problem, TRUNCATED_REMEDY);
  }
  return { running: running !== 0, format: kind, streamOffset };
}

function magicOf(head: Uint8Array): string {
  return new TextDecoder("latin1").decode(head.subarray(0, SAVED.length));
}

type Words = [version: number, dataLength: number, running: number, format: number];

/** A version that is too large is that of a host of the other byte order: so libvirt takes it, too. */
function readWords(path: string, head: Uint8Array): Words {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const version = view.getUint32(WORDS_OFFSET, true);
  const little = version <= VERSION;
  const swapped = view.getUint32(WORDS_OFFSET, false);
  if (!little && swapped > VERSION) {
    throw new ImageError(
      "unsupported",
      path,
      `Save file of libvirt with a header of an unknown version: ${version}`,
      `only those up to version ${VERSION} are known`,
    );
  }
  const word = (index: number): number => view.getUint32(WORDS_OFFSET + index * 4, little);
  return [word(0), word(1), word(2), word(3)];
}
