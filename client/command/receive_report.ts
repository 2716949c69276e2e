/** How the receiving of an image is told: as plain data for programs, as text for people. */

import {
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  formatShare,
} from "../../migration/report/units.ts";
import type { ReceiveStatistics } from "../receive/receive_statistics.ts";

/** A line of `receive --json`. */
export type ReceiveEvent =
  /** Ready for a source at this address. */
  | { readonly event: "listening"; readonly address: string }
  /** The figures so far. */
  | ({ readonly event: "progress" } & ReceiveStatistics)
  /** The image cannot be written; it goes on when it can. */
  | { readonly event: "waiting"; readonly reason: string }
  /** The end; `error-desc` (QEMU's name for it) when it failed. */
  | ({
    readonly event: "result";
    readonly image: string;
    readonly machine?: string;
    readonly "error-desc"?: string;
  } & ReceiveStatistics);

/** Tells the figures so far on one line. */
export function receiveProgressText(statistics: ReceiveStatistics): string {
  const { pages, received, remaining, duplicate } = statistics;
  if (statistics.status === "setup") return "Waiting for a source";
  return [
    statistics.status,
    ...pages === 0 ? [] : [`${formatShare(received, pages)} of ${formatCount(pages)} pages here`],
    ...remaining === 0 ? [] : [`${formatCount(remaining)} to come`],
    `${formatCount(duplicate)} zero`,
    rate(statistics),
  ].join(", ");
}

/**
 * Tells the outcome and what to do next as lines of text.
 *
 * @param result the last event
 * @param program what the user typed before the command's name
 */
export function receiveResultLines(
  result: Extract<ReceiveEvent, { event: "result" }>,
  program: string,
): string[] {
  const { image, machine, ...statistics } = result;
  const { pages, normal, duplicate, unnamed, "page-size": pageSize, decompression } = statistics;
  const size = formatBytes(pages * pageSize);
  const time = formatDuration(statistics["total-time"] * 1e6);
  return [
    `Received ${machine} with ${size} of memory into ${image} in ${time}, ${rate(statistics)}: ` +
    `${formatCount(normal)} pages with content, ${formatCount(duplicate)} zero`,
    ...unnamed === 0 ? [] : [
      `${formatCount(unnamed)} pages never came: they are zero, as QEMU loads them`,
    ],
    ...decompression === undefined ? [] : [
      `${formatCount(decompression.pages)} pages came compressed (${decompression.method}): ` +
      formatBytes(decompression["compressed-size"]),
    ],
    `Run it again: ${
      program.replace("client/main.ts", "server/main.ts")
    } serve ${image} --to tcp:HOST:PORT`,
    `Or in QEMU 9.0 or later, started with -incoming defer: migrate_set_capability mapped-ram on, ` +
    `then migrate_incoming file:${image}`,
  ];
}

function rate(statistics: ReceiveStatistics): string {
  const seconds = statistics["total-time"] / 1000;
  const bytes = statistics["main-bytes"] + statistics["preempt-bytes"];
  return formatRate(seconds === 0 ? 0 : bytes / seconds);
}
