/** How the receiving of an image is told: as plain data for programs, as text for people. */

import {
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  formatShare,
} from "../../migration/report/units.ts";
import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import type { ConnectionEvent } from "./connection_news.ts";
import type { ReceiveStatistics } from "../receive/receive_statistics.ts";

/** A line of `receive --json`. */
export type ReceiveEvent =
  /** Ready for a source at this address. */
  | { readonly event: "listening"; readonly address: string }
  /** The figures so far. */
  | ({ readonly event: "progress" } & ReceiveStatistics)
  | ConnectionEvent
  /** The image cannot be written; it goes on when it can. */
  | { readonly event: "waiting"; readonly reason: string }
  /** The connection is gone: the source keeps the guest, and `resume` there has it go on. */
  | {
    readonly event: "paused";
    readonly reason: string;
    readonly resume: string;
    /** Whether every page is in the file. */
    readonly complete: boolean;
    readonly remaining: number;
    /** What to do, for people. */
    readonly remedy: string;
  }
  | ReceiveResult;

/** The end; `error-desc` (QEMU's name for it) when it failed. */
export type ReceiveResult = {
  readonly event: "result";
  readonly image: string;
  readonly machine?: string;
  readonly "error-desc"?: string;
} & ReceiveStatistics;

/** Tells the figures so far on one line. */
export function receiveProgressText(statistics: ReceiveStatistics): string {
  const { pages, received, remaining, duplicate } = statistics;
  if (statistics.status === "setup") return "Waiting for a source";
  return [
    statistics.status === "postcopy-paused"
      ? "Paused, waiting for the source to resume"
      : statistics.status,
    ...pages === 0 ? [] : [`${formatShare(received, pages)} of ${formatCount(pages)} pages here`],
    ...remaining === 0 ? [] : [`${formatCount(remaining)} to come`],
    `${formatCount(duplicate)} zero`,
    rate(statistics),
  ].join(", ");
}

/**
 * What is typed into the monitor of a source to resume it.
 *
 * @param address where it is waited for; for all of a host's addresses the user knows which to take
 */
export function resumeCommand(address: SocketAddress): string {
  const everywhere = address.transport === "tcp" && ["0.0.0.0", "::"].includes(address.host);
  const to = everywhere ? `tcp:DESTINATION:${address.port}` : formatSocketAddress(address);
  return `migrate -d -r ${to}`;
}

/**
 * Tells the outcome and what to do next as lines of text.
 *
 * @param result the last event
 * @param program what the user typed before the command's name
 */
export function receiveResultLines(result: ReceiveResult, program: string): string[] {
  return [
    ...receivedLines(result),
    "Save the guest's disks as they are now, then end the source with quit",
    `Run it again: ${
      program.replace("client/main.ts", "server/main.ts")
    } serve ${result.image} --to tcp:HOST:PORT`,
    `Or in QEMU 9.0 or later, started with -incoming defer: migrate_set_capability mapped-ram on, ` +
    `then migrate_incoming file:${result.image}`,
  ];
}

/** Tells what was received. */
export function receivedLines(result: ReceiveResult): string[] {
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
  ];
}

function rate(statistics: ReceiveStatistics): string {
  const seconds = statistics["total-time"] / 1000;
  const bytes = statistics["main-bytes"] + statistics["preempt-bytes"] +
    (statistics["multifd-bytes"] ?? 0);
  return formatRate(seconds === 0 ? 0 : bytes / seconds);
}
