/** What `serve` and `workload --to` say about a guest that runs at the destination already. */

import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { isTlsFailure } from "../../migration/migration_error.ts";
import { POSTCOPY_SIGNAL, postcopySignalCommand } from "../../migration/command/postcopy_signal.ts";
import type { EndingSignal } from "../../migration/command/interrupt.ts";
import { formatCount, formatDuration, formatRate } from "../../migration/report/units.ts";
import { orderText } from "./order_text.ts";
import { sentPagesText } from "./sent_pages_text.ts";
import { BY_SERVE } from "../outgoing/fate.ts";
import type { SourceStatistics, SourceStatus } from "../outgoing/statistics.ts";
import type { SourceOptions } from "../source_options.ts";

/** The figures of which a guest at the destination is told. */
export interface SentPages {
  readonly ram: Pick<SourceStatistics["ram"], "remaining" | "page-size">;
}

/** Pages that are missing at the destination, as far as it is known here. */
function missingPages({ ram }: SentPages): string {
  return formatCount(ram.remaining / ram["page-size"]);
}

/** Reasons of a pause that lie here: what the destination does is nobody's concern then. */
const OWN_REASONS: readonly string[] = ["IMAGE_CHANGED", "IMAGE_UNREADABLE"];

/** What is to be typed at a destination that is to listen again. */
function typedLines(to: SocketAddress): string[] {
  const uri = formatSocketAddress(to);
  return [
    `Trying to connect to ${uri}. As long as info migrate there says postcopy-paused, have QEMU listen ` +
    "(at any free port):",
    `  (qemu) migrate_recover ${uri}`,
    "or by QMP, with the capability oob:",
    `  {"exec-oob": "migrate-recover", "arguments": {"uri": "${uri}"}, "id": 1}`,
  ];
}

/** How a user ends a command that a guest needs. */
const TWICE = "by Ctrl-C twice";

/**
 * What to do about a migration that is paused: how the destination is told to listen again.
 *
 * @param reason why it is paused; undefined for one that another source began
 * @param statistics what is missing there, as far as it is known
 * @param to where it is tried to connect
 * @param again how another source could go on, see `ServedAgain`; false when none could
 * @param ending how it is ended although a guest needs it
 * @param asked how the destination is told to listen again; default: its user types that
 */
export function pausedLines(
  reason: Error | undefined,
  statistics: SentPages,
  to: SocketAddress,
  again: string | false,
  ending: string = TWICE,
  asked?: readonly string[],
): string[] {
  const lines = asked ?? typedLines(to);
  const why = reason === undefined ? [] : [`Paused: ${reason.message}`];
  if (isTlsFailure(reason)) {
    why.push(
      "Once the other end is put right this goes on by itself. What is used here was read at the start" +
        (again === false
          ? " and stays as it is"
          : `: to use something else, end this ${ending}, and ${again}`),
    );
  }
  if (OWN_REASONS.includes((reason as { code?: string } | undefined)?.code ?? "")) {
    return [
      ...why,
      "Nothing is lost: the guest waits there, and goes on when the image is back. Do not end it, and do " +
      "not end this",
    ];
  }
  const gone =
    `Is that guest gone for good? Then end this, ${ending}, before another destination listens there`;
  if (reason === undefined) return [...lines, gone];
  if (statistics.ram.remaining === 0) {
    return [
      ...why,
      asked === undefined
        ? `Every page was sent: when info migrate there says completed, all is well: end this, ${ending}`
        : "Every page was sent: it may have them all",
      ...lines,
    ];
  }
  return [
    ...why,
    "Nothing is lost: the guest waits there for pages that it lacks, and they are here. Do not end it, " +
    "and do not end this",
    ...lines,
    gone,
  ];
}

/**
 * What is told when the migration stands somewhere else; nothing for most.
 *
 * @param before where it stood
 * @param again how another source could go on, as one of an image can; false when none could
 * @param asked see {@linkcode pausedLines}
 */
export function statusLines(
  status: SourceStatus,
  before: SourceStatus,
  reason: Error | undefined,
  statistics: SentPages,
  to: SocketAddress,
  again: string | false = BY_SERVE.recover,
  asked?: readonly string[],
): string[] {
  if (status === "postcopy-paused") {
    return pausedLines(reason, statistics, to, again, TWICE, asked);
  }
  if (status === "postcopy-recover") return ["Connected again: asking what the guest lacks"];
  if (status === "postcopy-active" && before === "postcopy-recover") {
    return [`Going on: ${missingPages(statistics)} pages left`];
  }
  return [];
}

/** What a second Ctrl-C does to a guest whose image can be served again. */
const SERVED_AGAIN =
  "ends it, and the guest stands still there until the same image is served with --recover";

/**
 * The answer to a signal that would end a source that a guest needs.
 *
 * @param second what a second Ctrl-C does; the default is of an image
 */
export function heldText(
  signal: EndingSignal,
  statistics: SentPages,
  second: string = SERVED_AGAIN,
): string {
  const guest = "The guest runs at the destination";
  const why = statistics.ram.remaining === 0
    ? `${guest}, or is about to, and all its pages are sent: waiting for its word`
    : `${guest} and lacks ${missingPages(statistics)} pages that only this sends: going on`;
  return signal === "SIGINT"
    ? `${why}; Ctrl-C once more ${second}`
    : `${why} until it has them all (${signal})`;
}

/**
 * The answer to the signal that asks for postcopy.
 *
 * @param status where the migration stands
 * @param multifd whether pages go before the guest
 * @param postcopyAfter see `SourceOptions`
 */
export function postcopyText(
  status: SourceStatus,
  multifd: boolean,
  postcopyAfter: number | undefined,
): string {
  const answer = `${POSTCOPY_SIGNAL}:`;
  if (!["setup", "active"].includes(status)) {
    return `${answer} the guest was handed over already: ${status}`;
  }
  if (!multifd) return `${answer} pages go on demand already: there is no precopy to end`;
  if (postcopyAfter === undefined) {
    return `${answer} cannot switch to postcopy: the destination was not told of it: serve with --postcopy-after ` +
      "signal the next time; this goes on";
  }
  return `${answer} switching to postcopy: the guest runs at the destination, the rest follows on demand`;
}

/**
 * The line of progress.
 *
 * @param options how it was begun
 */
export function progressText(
  statistics: SourceStatistics,
  { postcopyAfter }: Pick<SourceOptions, "postcopyAfter"> = {},
): string {
  const { ram } = statistics;
  const precopies = postcopyAfter !== undefined && statistics.status === "active";
  return [
    precopies ? `active (${postcopySignalCommand()} switches to postcopy)` : statistics.status,
    `${missingPages(statistics)} pages left`,
    `${formatCount(ram["postcopy-requests"])} requested`,
    ...statistics["requests-served"] === 0
      ? []
      : [`${formatDuration(statistics["request-service-time"])} a request`],
    formatRate(ram.mbps * 1e6 / 8),
  ].join(", ");
}

/** The last line: how it went. */
export function summaryText(statistics: SourceStatistics): string {
  const { ram, order } = statistics;
  const run = statistics["time-to-run"];
  return [
    `Completed in ${formatDuration(statistics["total-time"] * 1e6)}`,
    ...run === undefined ? [] : [`running after ${formatDuration(run * 1e6)}`],
    sentPagesText(statistics),
    ...order === undefined ? [] : [orderText(order)],
    `${formatCount(ram["postcopy-requests"])} requested`,
    formatRate(ram.mbps * 1e6 / 8),
  ].join(", ");
}
