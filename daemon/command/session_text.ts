/** One session in words. */

import { lazyFiguresText } from "../../client/command/lazy_report.ts";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
} from "../../migration/report/units.ts";
import type { SessionView } from "../service/session.ts";
import { figuresOf } from "./session_figures.ts";
import { isOver } from "./sessions.ts";

const TO = { outgoing: "to", incoming: "from", lazy: "at" } as const;

/** Everything there is to say of a session, a line each; what is to be typed is indented. */
export function sessionLines(session: SessionView): string[] {
  const { id, direction, image, peer, startedAt, endedAt, notes } = session;
  return [
    `${id}: ${direction}, ${image} ${TO[direction]} ${peer}`,
    progressOf(session),
    `Since ${startedAt}${endedAt === undefined ? "" : `, ended ${endedAt}`}`,
    ...standingLines(session),
    ...notes.map((note) => `Note: ${note}`),
  ];
}

/** How far a session is, in a line. */
export function progressOf(session: SessionView): string {
  const { status, statistics } = session;
  if ("processes" in statistics) {
    const { processes, image } = statistics;
    if (processes.length === 0 && image === undefined) return `${status}, no process needs it`;
    return `${status}, ${lazyFiguresText(statistics, ["process", "processes"])}`;
  }
  const { left, faults, latency, bytes, pages } = figuresOf(session);
  return [
    status,
    ...left === undefined ? [] : [`${formatCount(Math.round(left))} pages left`],
    ...pages === undefined ? [] : [`of ${formatBytes(pages * pageSizeOf(session))}`],
    ...faults === undefined ? [] : [`${formatCount(faults)} requested`],
    ...latency === undefined ? [] : [`${formatDuration(latency)} a request`],
    ...rateText(session, bytes),
  ].join(", ");
}

/** Why a session does not go on, and what to do; nothing for one that does. */
export function standingLines({ status, reason, remedy, recover }: SessionView): string[] {
  const said = reason ?? "";
  return [
    ...said === "" ? [] : [`${status === "postcopy-paused" ? "Paused" : "Reason"}: ${said}`],
    ...remedy === undefined || said.includes(remedy) ? [] : [remedy],
    ...recover === undefined ? [] : ["To go on, at the other end:", `  ${recover}`],
  ];
}

/** How a session ended, in a line. */
export function endingOf(session: SessionView): string {
  const { id, status, reason } = session;
  const time = "total-time" in session.statistics
    ? ` in ${formatDuration(session.statistics["total-time"] * 1e6)}`
    : "";
  if (status === "completed") return `Completed${time}: ${id}, ${progressOf(session)}`;
  return `${status === "cancelled" ? "Cancelled" : "Failed"}: ${id}: ${
    reason ?? "no reason is known"
  }`;
}

function pageSizeOf({ statistics }: SessionView): number {
  if ("ram" in statistics) return statistics.ram["page-size"];
  return "page-size" in statistics ? statistics["page-size"] : 4096;
}

function rateText(session: SessionView, bytes: number): string[] {
  const { statistics } = session;
  if ("ram" in statistics && !isOver(session)) {
    return [formatRate(statistics.ram.mbps * 1e6 / 8)];
  }
  return [formatBytes(bytes)];
}
