/** The tables of bench:sessions. */

import { markdownTable, microseconds, significant } from "../support/markdown.ts";
import { median, overRepetitions, type Summary } from "../support/statistics.ts";
import type { SessionsRow } from "./measure.ts";
import { perSession, type RestFigures } from "./rest.ts";

const MEBIBYTE = 2 ** 20;

/** Both ends of all sessions. */
export const SESSION_ENDS = ["server", "destinations"] as const;
/** One of them. */
export type SessionEnd = typeof SESSION_ENDS[number];

/**
 * Bytes of the bitmaps of a session at an end: a bit for each page, of those not sent at the source; of those
 * asked for and of those received at the destination.
 */
export function bitmapBytes(end: SessionEnd, { size }: SessionsRow): number {
  return size / 4096 / 8 * (end === "server" ? 1 : 2);
}

/** Memory of a session at an end beyond its bitmaps, bytes of PSS. */
export function memoryOfSession(row: SessionsRow, end: SessionEnd): number {
  return perSession(row[end], row.sessions, "pss") - bitmapBytes(end, row);
}

/** Writes a number of sessions. */
export function sessionsText(sessions: number): string {
  return `${sessions} session${sessions === 1 ? "" : "s"}`;
}

function restRow(row: SessionsRow, end: SessionEnd): string[] {
  const figures: RestFigures = row[end];
  const { sessions } = row;
  return [
    `${sessionsText(sessions)}, ${end}`,
    significant(end === "server" ? row.start : row.listen),
    `${figures.before.threads} -> ${figures.held.threads}`,
    significant(memoryOfSession(row, end) / MEBIBYTE),
    significant(perSession(figures, sessions, "rss") / MEBIBYTE),
    significant(perSession(figures, sessions, "descriptors")),
    significant(perSession(figures, sessions, "wakeUps")),
  ];
}

/**
 * What sessions at rest cost, each of them but for the threads; and how long it took until all guests ran,
 * and before that until all destinations listened.
 */
export function restTable(rows: readonly SessionsRow[]): string {
  return markdownTable(
    ["at rest", "begun in, ms", "threads", "PSS, MiB", "RSS, MiB", "descriptors", "wake-ups/s"],
    rows.flatMap((row) => SESSION_ENDS.map((end) => restRow(row, end))),
  );
}

function cells(runs: readonly Summary[]): string[] {
  const { p50, p99, max } = overRepetitions(runs);
  return [p50, p99, max].map(microseconds);
}

/** How long guests waited for a page. */
export function latencyTable(rows: readonly SessionsRow[]): string {
  const figures = ["p50", "p99", "longest"];
  return markdownTable(
    [
      "us",
      ...figures,
      ...figures.map((name) => `flood: ${name}`),
      ...figures.map((name) => `floor: ${name}`),
      "requests/s",
      "of the flood/s",
      "CPU a request",
    ],
    rows.map((row) => [
      sessionsText(row.sessions),
      ...cells(row.waits),
      ...cells(row.flooded),
      ...cells(row.floor),
      significant(median(row.rate)),
      significant(median(row.floodRate)),
      microseconds(median(row.cpuPerRequest)),
    ]),
  );
}

/** How fast all of them streamed. */
export function streamTable(rows: readonly SessionsRow[]): string {
  return markdownTable(
    ["all stream", "MiB each", "MB/s", "MB/s with their start", "server CPU, s/GB"],
    rows.map(({ sessions, stream }) => [
      sessionsText(sessions),
      significant(stream.bytes / sessions / MEBIBYTE),
      significant(stream.rate / 1e6),
      significant(stream.wholeRate / 1e6),
      significant(stream.cpuPerGigabyte),
    ]),
  );
}
