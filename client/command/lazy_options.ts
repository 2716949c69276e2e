/** The options that say which memory is served on demand, and how: the same for `lazy` and for who asks a daemon. */

import {
  choiceArgument,
  type Options,
  type OptionValues,
  UsageError,
} from "../../migration/command/arguments.ts";
import type { LazyOptions } from "../lazy/lazy.ts";
import { ON_LOSS } from "../lazy/lazy_task.ts";
import { MEMORY_FORMATS } from "../lazy/memory_image.ts";
import { FROM_OPTIONS, fromArguments } from "./lazy_from.ts";

/** The options, for `parseCommand`. */
export const MEMORY_OPTIONS = {
  format: {
    value: MEMORY_FORMATS.join("|"),
    help: "how FILE is read; default raw: its bytes are the memory. image: what QEMU or libvirt " +
      "wrote, or a file with a description; its RAM blocks are the memory, in their order",
  },
  ...FROM_OPTIONS,
  "on-loss": {
    value: ON_LOSS.join("|"),
    help:
      "when a page cannot be had (FILE changed, disk failed, page server gone): hold whoever waits for it until it " +
      "can be (the default), give it SIGBUS (Linux 6.6), or kill its VM; never zeros",
  },
  order: {
    value: "FILE|off",
    help: "the order in which VMs touched this memory before, by which it is filled; default " +
      "FILE.postcopy-order, where there is one; with --from it lies at the page server, with --criu in " +
      "DIR/lazy-pages.postcopy-order",
  },
  record: {
    help: "keep that order: what VMs touch before it is filled; with --no-fill all that they touch",
  },
  "no-fill": { help: "place only pages that are asked for" },
} as const satisfies Options;

/** What they say. */
export type MemoryArguments = Pick<
  LazyOptions,
  | "image"
  | "from"
  | "tls"
  | "stallTimeout"
  | "lostAfter"
  | "format"
  | "onLoss"
  | "order"
  | "record"
  | "fill"
>;

/**
 * Reads them.
 *
 * @param image that was named beside them, if one was
 * @param remedy how one is named
 * @throws {UsageError} for what goes against itself, and when no memory is named
 */
export function memoryArguments(
  image: string | undefined,
  values: OptionValues<typeof MEMORY_OPTIONS>,
  remedy: string,
): MemoryArguments {
  const from = fromArguments(values);
  if (from === undefined && (image === undefined || image === "")) {
    throw new UsageError(
      `No image given: say where pages come from with ${remedy}, or --from tcp:HOST:PORT/NAME`,
    );
  }
  const serverside = from === undefined ? undefined : values.order ?? values.record;
  if (serverside !== undefined) {
    throw new UsageError(
      `The order of an image at a page server is kept there (serve --order, --record): ${serverside}: ` +
        "leave it out here",
    );
  }
  const twice = from === undefined ? undefined : image ?? values.format;
  if (twice !== undefined) {
    throw new UsageError(`Both a file and --from given: ${twice}: leave out one`);
  }
  const { format, "on-loss": onLoss } = values;
  return {
    ...from ?? { image },
    fill: !(values["no-fill"] ?? false),
    order: values.order,
    record: values.record,
    ...format === undefined ? {} : { format: choiceArgument("format", format, MEMORY_FORMATS) },
    ...onLoss === undefined ? {} : { onLoss: choiceArgument("on-loss", onLoss, ON_LOSS) },
  };
}
