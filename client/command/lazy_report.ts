/** How served memory is told: as plain data for programs, as text for people. */

import { warnLine } from "../../migration/command/output.ts";
import type { ProgressLine } from "../../migration/report/progress_line.ts";
import { formatBytes, formatCount, formatShare } from "../../migration/report/units.ts";
import type { HolderEvent } from "../lazy/holder/holder.ts";
import type { LazyTreeEvent } from "../lazy/criu/lazy_tree.ts";
import type { RemoteStatistics } from "../lazy/remote/remote_memory.ts";
import type { LazyStatistics } from "../lazy/lazy_statistics.ts";

/** A line of `lazy --json`. */
export type LazyCommandEvent =
  /** Ready for VMs at this socket. */
  | { readonly event: "listening"; readonly socket: string }
  /** The figures so far of each VM that is served. */
  | {
    readonly event: "progress";
    readonly processes: readonly LazyStatistics[];
    /** Of an image at a page server. */
    readonly image?: RemoteStatistics;
  }
  /** What a VM has written to is kept in a file. */
  | {
    readonly event: "dirty";
    readonly pid: number;
    /** Pages of 4 KiB. */
    readonly pages: number;
    readonly path: string;
  }
  | HolderEvent
  | LazyTreeEvent;

/** Tells the figures so far on one line. */
export function lazyProgressText(
  processes: readonly LazyStatistics[],
  [one, many]: readonly [string, string] = ["VM", "VMs"],
): string {
  const sum = (of: (each: LazyStatistics) => number) =>
    formatCount(processes.reduce((all, each) => all + of(each), 0));
  return [
    `${formatCount(processes.length)} ${processes.length === 1 ? one : many}`,
    `${sum(({ urgent }) => urgent)} pages on demand`,
    `${sum(({ background }) => background)} filled`,
    `${sum(({ removed }) => removed)} removed`,
    `${sum(({ waiting }) => waiting)} faults wait`,
  ].join(", ");
}

/** Says what ending it now does to the VMs. */
export function neededText(processes: readonly LazyStatistics[]): string {
  return `Needed by ${
    lazyProgressText(processes)
  }: ended now, each of them stops at the next page ` +
    "that is missing: end them first, or press Ctrl-C again";
}

/** Tells an event as text. */
export function tellLazy(event: LazyCommandEvent, line: ProgressLine): void {
  if (event.event === "progress") return line.update(lazyFiguresText(event));
  line.clear();
  warnLine(`${isTrouble(event) ? "postcopy: " : ""}${lazyText(event)}`);
}

/** What somebody should look at. */
const TROUBLES: readonly LazyCommandEvent["event"][] = [
  "refused",
  "lost",
  "held",
  "unheld",
  "untold",
  "server-lost",
  "abandoned",
];

/** Whether an event is one that somebody should look at. */
export function isTrouble({ event }: LazyCommandEvent): boolean {
  return TROUBLES.includes(event);
}

/**
 * Tells the figures so far on one line, and those of an image at a page server.
 *
 * @param nouns of whom, one and several
 */
export function lazyFiguresText(
  { processes, image }: Pick<
    Extract<LazyCommandEvent, { event: "progress" }>,
    "processes" | "image"
  >,
  nouns?: readonly [string, string],
): string {
  const text = lazyProgressText(processes, nouns);
  if (image === undefined || image.received === image.pages) return text;
  return `${text}; ${formatShare(image.received, image.pages)} of the image is here`;
}

/** Tells an event in a sentence. */
export function lazyText(event: Exclude<LazyCommandEvent, { event: "progress" }>): string {
  switch (event.event) {
    case "listening":
      return `Listening on ${event.socket}`;
    case "handed-over":
      return `Process ${event.pid} of user ${event.uid}: ${
        formatBytes(event.bytes)
      } handed over, ` +
        `${event.regions} ${event.regions === 1 ? "region" : "regions"}`;
    case "refused":
      return event.reason;
    case "lost":
      return `Process ${event.pid}: ${event.reason}: ${DOING[event.doing]}`;
    case "found":
      return `Process ${event.pid}: pages can be had again`;
    case "held":
      return `Process ${event.pid}: ${event.reason}: whoever waits goes on waiting`;
    case "unheld":
      return `Process ${event.pid}: it would not outlive this server: ${event.reason}`;
    case "untold":
      return `Process ${event.pid}: it cannot be told what it writes to: ${event.reason}`;
    case "dirty":
      return `Process ${event.pid}: ${formatCount(event.pages)} dirty pages, kept in ${event.path}`;
    case "missed":
      return `postcopy: Process ${event.pid}: ${event.reason}`;
    case "taken":
      return `A server has come, for ${event.processes} VMs or trees of CRIU`;
    case "left":
      return `The server is gone, ${event.processes} VMs or trees of CRIU wait for the next` +
        (event.reason === undefined ? "" : `: ${event.reason}`);
    case "server-lost":
      return `${event.server}: ${event.reason}: whoever needs a page that has not come waits, ` +
        "and it is tried to connect again";
    case "server-found":
      return `${event.server}: connected again`;
    case "complete":
      return `${event.server}: all of it is here, the server is not needed any more`;
    case "note":
      return event.text;
    case "restored":
      return "CRIU has restored all processes";
    case "forked":
      return `Process ${event.pid} has forked: its child is served too`;
    case "abandoned":
      return `CRIU left before all processes were restored: ${event.reason}: what there is of ` +
        "them is served until it ends";
    case "filled":
      return `Process ${event.pid}: all of its memory is there`;
    case "ended":
      return `Process ${event.pid} is gone: ${formatCount(event.urgent)} pages on demand, ` +
        `${formatCount(event.background)} filled, ${formatCount(event.removed)} removed`;
  }
}

const DOING = {
  hold: "whoever waits for one goes on waiting, and it is tried again each second",
  poison: "whoever touches one gets SIGBUS",
  kill: "the process is ended",
} as const;
