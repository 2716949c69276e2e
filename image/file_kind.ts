/** Telling files apart by their first bytes. */

import {
  CAPABILITY,
  type Configuration,
  hasCapability,
  IgnoreStream,
  ProtocolError,
  STREAM_MAGIC,
  StreamDecoder,
} from "../migration/protocol/mod.ts";
import { ImageError } from "./image_error.ts";
import { hasPartialMark } from "./mapped_ram/partial_mark.ts";
import { BY_RECEIVE, type TakenUpAgain } from "./taken_up.ts";
import { isPartialName } from "./partial_name.ts";
import { descriptionPath } from "./raw/raw_description.ts";
import { type Packer, unpackRemedy } from "./unpack_remedy.ts";

/** Files as programs pack them; first bytes in hexadecimal. */
const PACKED: readonly { magic: string; packer: Packer }[] = [
  { magic: "28b52ffd", packer: "zstd" },
  { magic: "1f8b", packer: "gzip" },
  { magic: "fd377a58", packer: "xz" },
  { magic: "425a68", packer: "bzip2" },
  { magic: "894c5a4f000d0a1a0a", packer: "lzop" },
  { magic: "04224d18", packer: "lz4" },
];

const QCOW2_MAGIC = "514649fb";

/** Whether a file that starts so is a captured stream, or the start of one. */
export function isStream(head: Uint8Array): boolean {
  const magic = new Uint8Array(4);
  new DataView(magic.buffer).setUint32(0, STREAM_MAGIC);
  return head.subarray(0, 4).every((byte, i) => byte === magic[i]);
}

/** First bytes of a stream that are enough for {@linkcode isMappedRam}. */
export const CONFIGURATION_LIMIT = 256 * 1024;

class FindMappedRam extends IgnoreStream {
  found = false;

  override configuration(configuration: Configuration): void {
    this.found = hasCapability(configuration, CAPABILITY.MAPPED_RAM);
  }
}

/** Whether a stream that starts so is the frame of a mapped-ram file. */
export function isMappedRam(head: Uint8Array): boolean {
  const handler = new FindMappedRam();
  const decoder = new StreamDecoder(handler);
  try {
    decoder.finish(head.length - decoder.decode(head, 0, head.length));
  } catch (error) {
    // What is wrong with it is said by who opens it in full.
    if (!(error instanceof ProtocolError)) throw error;
  }
  return handler.found;
}

/** The error for a file of a kind that people try to serve; undefined when it does not start as one. */
export function foreignFormat(path: string, head: Uint8Array): ImageError | undefined {
  const hex = hexOf(head);
  const packer = PACKED.find(({ magic }) => hex.startsWith(magic))?.packer;
  if (packer !== undefined) {
    const problem = `File compressed by ${packer}`;
    return new ImageError("not-an-image", path, problem, unpackRemedy(path, packer));
  }
  if (!hex.startsWith(QCOW2_MAGIC)) return undefined;
  const remedy = "capture the machine with migrate exec:cat>FILE";
  return new ImageError("not-an-image", path, "Disk image (qcow2)", remedy);
}

/**
 * The error for a file that starts so, is of no known kind, and has no description beside it.
 *
 * @param streamOffset where in it a stream of QEMU seems to begin, in bytes
 * @param again how one goes on that lacks pages
 */
export function unknownFormat(
  path: string,
  head: Uint8Array,
  streamOffset?: number,
  again: TakenUpAgain = BY_RECEIVE,
): ImageError {
  if (hasPartialMark(head)) {
    return new ImageError(
      "not-an-image",
      path,
      "Image that lacks pages, which its source still has",
      `if its receive has ended, take it up again: ${again(path)}`,
    );
  }
  if (isPartialName(path)) {
    return new ImageError(
      "not-an-image",
      path,
      "Image that receive has not completed, by its name",
      "wait until that receive has ended; it then says where the guest is, mostly unharmed at its " +
        "source, from where it can be received again",
    );
  }
  const remedies = [
    ...streamOffset === undefined
      ? []
      : [`if QEMU wrote it from byte ${streamOffset} on, say --offset ${streamOffset}`],
    `serve a stream that QEMU wrote, or put ${descriptionPath(path)} beside a raw memory file`,
  ];
  const problem = `Unknown kind of file, whose first bytes are ${hexOf(head)}`;
  return new ImageError("not-an-image", path, problem, remedies.join("; else "), { offset: 0 });
}

/** Bytes as hexadecimal digits. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
