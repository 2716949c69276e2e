/** `images [NAME]`: what the daemon can serve. */

import { parseCommand, UsageError } from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { printLine } from "../../migration/command/output.ts";
import { formatTable } from "../../migration/report/table.ts";
import { formatBytes } from "../../migration/report/units.ts";
import type { ImageEntry } from "../service/image_catalog.ts";
import { formatImageReport, type ImageReport } from "../../image/inspect/inspect.ts";
import { DAEMON_OPTIONS, daemonClient, ExitCode, exitCodeOf, EXITS } from "./daemon_words.ts";

const OPTIONS = {
  ...DAEMON_OPTIONS,
  order: { help: "of the named image: the order in which its machine touched its memory, as JSON" },
  json: { help: "print what the daemon answers, as JSON" },
} as const;

/** The command `images`. */
export const IMAGES: Command = {
  synopsis: "[NAME [--order]] [options]",
  about: [
    "Lists the images that the daemon serves by name: those of its directories, and single files that its " +
    "configuration names. Of one that is named it prints what inspect does.",
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]: "shown",
    ...EXITS,
    [ExitCode.BAD_IMAGE]: "there is no such image, or it cannot be used",
  },
  run: imagesCommand,
  exitCodeOf,
};

async function imagesCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseCommand(args, OPTIONS);
  const [name, extra] = positionals;
  if (extra !== undefined) throw new UsageError(`One image at a time: ${extra}`);
  if (name === undefined && values.order) {
    throw new UsageError("No image named: --order is of one: write images NAME --order");
  }
  using client = daemonClient(values);
  if (name !== undefined) {
    const path = `/images/${encodeURIComponent(name)}${values.order ? "/order" : ""}`;
    const answer = await client.ask<ImageReport>(path);
    if (values.json) printLine(JSON.stringify(answer));
    else printLine(values.order ? JSON.stringify(answer, null, 2) : formatImageReport(answer));
    return ExitCode.DONE;
  }
  const { images } = await client.ask<{ readonly images: readonly ImageEntry[] }>("/images");
  if (values.json) printLine(JSON.stringify(images));
  else if (images.length === 0) {
    printLine("No images: put some into a directory that the daemon's configuration names");
  } else printLine(imageLines(images).join("\n"));
  return ExitCode.DONE;
}

function imageLines(images: readonly ImageEntry[]): string[] {
  const rows = images.map(({ name, size, modified, order, sessions }) => [
    name,
    formatBytes(size),
    modified,
    order ? "yes" : "no",
    `${sessions}`,
  ]);
  const [header, _rule, ...lines] = formatTable(rows, {
    header: ["IMAGE", "SIZE", "WRITTEN", "ORDER", "SESSIONS"],
    align: ["left", "right", "left", "left", "right"],
  });
  return [header!, ...lines];
}
