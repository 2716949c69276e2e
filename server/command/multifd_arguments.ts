/** The options by which every command that migrates sends pages on several channels. */

import {
  choiceArgument,
  integerArgument,
  type Options,
  type OptionValues,
  UsageError,
} from "../../migration/command/arguments.ts";
import { COMPRESSION_METHODS } from "../../migration/compression.ts";
import { type MultifdOptions, multifdSettings } from "../multifd/multifd_settings.ts";

/** The options, for `parseCommand`. */
export const MULTIFD_OPTIONS = {
  "multifd-channels": {
    value: "N",
    help:
      "send pages on so many channels, 1 to 255, before the guest runs at the destination: QEMU's " +
      "capability multifd, on there too with as many; with --mode, pages on demand may follow at QEMU from " +
      "10.1 on",
  },
  "multifd-compression": {
    value: "METHOD",
    help: "how they are compressed: zlib, zstd or none (default), the same at the destination",
  },
  "multifd-zlib-level": { value: "LEVEL", help: "0 (stores) to 9; default 1" },
  "multifd-zstd-level": {
    value: "LEVEL",
    help: "-7 to 19 (with a minus, write --multifd-zstd-level=-7); default 1",
  },
  "multifd-uuid": {
    value: "UUID",
    help:
      "the destination's -uuid, which QEMU compares; default what the image says (libvirt's do), or none",
  },
  "multifd-flush-after-each-section": {
    value: "on|off",
    help:
      "QEMU's property of that name: on for machine types up to 8.0, which is the default; to be said " +
      "for one without a version on a QEMU up to 8.0",
  },
} as const satisfies Options;

/** The options as they are written on the command line. */
export type MultifdValues = OptionValues<typeof MULTIFD_OPTIONS>;

/**
 * Reads the options.
 *
 * @returns undefined when there are no such channels
 * @throws {UsageError} for one that cannot be understood or is out of its range
 */
export function multifdArgument(values: MultifdValues): MultifdOptions | undefined {
  const { "multifd-channels": channels, "multifd-uuid": uuid } = values;
  const flush = values["multifd-flush-after-each-section"];
  const methods = [...COMPRESSION_METHODS, "none"] as const;
  const said = values["multifd-compression"];
  const compression = choiceArgument("multifd-compression", said ?? "none", methods);
  const level = levelArgument(values, compression);
  if (channels === undefined) {
    if (said ?? level ?? uuid ?? flush) {
      throw new UsageError("No multifd channels: say how many with --multifd-channels too");
    }
    return undefined;
  }
  const options = {
    channels: integerArgument("multifd-channels", channels),
    compression,
    ...level === undefined ? {} : { level },
    ...uuid === undefined ? {} : { uuid },
    ...flush === undefined ? {} : {
      flushAfterEachSection:
        choiceArgument("multifd-flush-after-each-section", flush, ["on", "off"]) === "on",
    },
  };
  try {
    multifdSettings(options);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
  return options;
}

/** A level is of one method: of the other it would have no effect. */
function levelArgument(values: MultifdValues, compression: string): number | undefined {
  for (const method of COMPRESSION_METHODS) {
    const level = values[`multifd-${method}-level`];
    if (level === undefined) continue;
    if (method === compression) return integerArgument(`multifd-${method}-level`, level);
    throw new UsageError(
      `--multifd-${method}-level ${level} without --multifd-compression ${method}: say that too, or ` +
        "leave the level out",
    );
  }
  return undefined;
}
