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
import { descriptionPath } from "./raw/raw_description.ts";

const UNPACK = "unpack it first: pages are served from where they lie";

/** What people try to serve that cannot be; first bytes in hexadecimal. */
const FOREIGN: readonly { magic: string; what: string; remedy: string }[] = [
  { magic: "28b52ffd", what: "File compressed by zstd", remedy: UNPACK },
  { magic: "1f8b", what: "File compressed by gzip", remedy: UNPACK },
  { magic: "fd377a58", what: "File compressed by xz", remedy: UNPACK },
  { magic: "04224d18", what: "File compressed by lz4", remedy: UNPACK },
  {
    magic: "4c69627669727451656d7564", // LibvirtQemud
    what: "File saved by libvirt",
    remedy: "cut off the header that libvirt puts before the stream",
  },
  {
    magic: "514649fb",
    what: "Disk image (qcow2)",
    remedy: "capture the machine with migrate exec:cat>FILE",
  },
];

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
  const foreign = FOREIGN.find(({ magic }) => hex.startsWith(magic));
  return foreign && new ImageError("not-an-image", path, foreign.what, foreign.remedy);
}

/** The error for a file that starts so, is of no known kind, and has no description beside it. */
export function unknownFormat(path: string, head: Uint8Array): ImageError {
  return new ImageError(
    "not-an-image",
    path,
    `Unknown kind of file, whose first bytes are ${hexOf(head)}`,
    `serve a stream that QEMU wrote, or put ${descriptionPath(path)} beside a raw memory file`,
    { offset: 0 },
  );
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
