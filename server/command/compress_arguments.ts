/** The options by which every command that migrates compresses. */

import { compressionLibrary } from "../../ffi/compression/codec.ts";
import {
  choiceArgument,
  integerArgument,
  type Options,
  type OptionValues,
  UsageError,
} from "../../migration/command/arguments.ts";
import { COMPRESSION_METHODS } from "../../migration/compression.ts";
import {
  type CompressionOptions,
  compressionSettings,
} from "../compression/compression_settings.ts";

/** The options, for `parseCommand`. */
export const COMPRESS_OPTIONS = {
  compress: {
    value: "METHOD",
    help: "zlib, as QEMU's capability compress (7.2 to 9.0); zstd, for our own destination; none " +
      "(default). Pages that are asked for never are",
  },
  "compress-level": {
    value: "LEVEL",
    help:
      "0 (stores) to 9 for zlib, -7 to 19 for zstd (with a minus, write --compress-level=-7); " +
      "default 1",
  },
  "compress-threads": {
    value: "N",
    help: "threads that compress at most, 1 to 255; default 8; a process has one a processor",
  },
  "compress-wait-thread": {
    value: "on|off",
    help: "whether a page waits while all are busy (default), or is sent as it is",
  },
} as const satisfies Options;

/** The options as they are written on the command line. */
export type CompressValues = OptionValues<typeof COMPRESS_OPTIONS>;

/**
 * Reads the options.
 *
 * @returns undefined when nothing is to be compressed
 * @throws {UsageError} for one that cannot be understood or is out of its range
 */
export function compressArgument(values: CompressValues): CompressionOptions | undefined {
  const methods = [...COMPRESSION_METHODS, "none"] as const;
  const method = choiceArgument("compress", values.compress ?? "none", methods);
  const level = values["compress-level"];
  const threads = values["compress-threads"];
  const wait = values["compress-wait-thread"];
  if (method === "none") {
    if (level ?? threads ?? wait) {
      throw new UsageError("Nothing is compressed: say --compress zlib or zstd too");
    }
    return undefined;
  }
  const options = {
    method,
    ...level === undefined ? {} : { level: integerArgument("compress-level", level) },
    ...threads === undefined ? {} : { threads: integerArgument("compress-threads", threads) },
    ...wait === undefined
      ? {}
      : { wait: choiceArgument("compress-wait-thread", wait, ["on", "off"] as const) === "on" },
  };
  try {
    return compressionSettings(options);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}

/**
 * Says in one line which library compresses, when it is not the first choice.
 *
 * @throws {CompressionError} when this host has none for the method, with what to install
 */
export function compressionNote(options: CompressionOptions | undefined): string | undefined {
  return options === undefined ? undefined : compressionLibrary(options.method).instead;
}
