/** How a source sends pages on several channels, as its user says it. */

import { checkCompressionLevel, type CompressionMethod } from "../../migration/compression.ts";
import { MAX_MULTIFD_CHANNELS } from "../../migration/protocol/multifd.ts";

/** How pages go before the guest runs at the destination: QEMU's capability multifd, to be on there too. */
export interface MultifdOptions {
  /** Channels, 1 to 255: the destination's parameter `multifd-channels`. */
  readonly channels: number;
  /** How they are compressed: the destination's parameter `multifd-compression`; default not at all. */
  readonly compression?: CompressionMethod | "none";
  /** 0 to 9 for zlib, -7 to 19 for zstd; default 1. */
  readonly level?: number;
  /**
   * The machine's UUID, which a QEMU compares with its own (`-uuid`), as `a0b1c2d3-...`; default that of the
   * image, if it says one (libvirt's do), or zeros, as a QEMU without has.
   */
  readonly uuid?: string;
  /**
   * Whether the destination waits for all channels behind each section of the memory: QEMU's property
   * `multifd-flush-after-each-section`, on for machine types up to 8.0. Default as the machine type says; one
   * without a version counts as new.
   */
  readonly flushAfterEachSection?: boolean;
}

/** The same, complete. */
export interface MultifdSettings {
  readonly channels: number;
  /** Undefined: pages go as they are. */
  readonly compression: { readonly method: CompressionMethod; readonly level: number } | undefined;
  /** 16 bytes. */
  readonly uuid: Uint8Array<ArrayBuffer>;
}

const NO_UUID = "00000000-0000-0000-0000-000000000000";

/**
 * Completes and checks what a user said.
 *
 * @param uuid the machine's, if it is known
 * @throws {RangeError} for a number of channels, a level or a UUID that cannot be
 */
export function multifdSettings(options: MultifdOptions, uuid = NO_UUID): MultifdSettings {
  const { channels, compression = "none", level } = options;
  if (!(Number.isInteger(channels) && channels >= 1 && channels <= MAX_MULTIFD_CHANNELS)) {
    throw new RangeError(`Multifd channels are 1 to ${MAX_MULTIFD_CHANNELS}: ${channels}`);
  }
  if (compression !== "none") checkCompressionLevel(compression, level ?? 1);
  return {
    channels,
    compression: compression === "none" ? undefined : { method: compression, level: level ?? 1 },
    uuid: uuidBytes(options.uuid ?? uuid),
  };
}

function uuidBytes(text: string): Uint8Array<ArrayBuffer> {
  const digits = text.replaceAll("-", "");
  if (!/^[0-9a-f]{32}$/i.test(digits)) {
    throw new RangeError(`UUID is not 32 hexadecimal digits, as in ${NO_UUID}: ${text}`);
  }
  return Uint8Array.fromHex(digits);
}
