/** What `save` tells at its end. */

import { receivedLines, type ReceiveResult } from "../../client/command/receive_report.ts";
import type { MigrationInfo } from "./migration_info.ts";

/** How a guest was saved. */
export interface Saved {
  readonly result: ReceiveResult;
  /** What QEMU says of it. */
  readonly source: MigrationInfo | Error;
  /** Whether QEMU was ended. */
  readonly ended: boolean;
}

/**
 * Tells what is there and what to do next.
 *
 * @param program what the user typed before the command's name
 */
export function savedLines({ result, source, ended }: Saved, program: string): string[] {
  const again = `Run it again: ${program} restore ${result.image} --qmp unix:PATH`;
  if (ended) {
    return [
      ...receivedLines(result),
      "QEMU was ended: copy or snapshot the guest's disks before anything else uses them",
      again,
    ];
  }
  if (source instanceof Error || source.status !== "completed") {
    const says = source instanceof Error
      ? `could not be asked (${source.message})`
      : `says: ${source.status}${source["error-desc"] ? `: ${source["error-desc"]}` : ""}`;
    return [
      ...receivedLines(result),
      `The image is whole, but QEMU ${says}: see query-status there: as long as the guest does not run, copy ` +
      'or snapshot its disks, and end it: {"execute": "quit"}. Never let it run there and from the image',
    ];
  }
  return [
    ...receivedLines(result),
    "The guest is stopped there, and its disks fit the image: copy or snapshot them now, then end QEMU:",
    '  {"execute": "quit"}',
    'To let it go on there instead: {"execute": "cont"}; the image is then good with that copy of the disks alone',
    again,
  ];
}
