/** Sessions as a table. */

import { formatTable } from "../../migration/report/table.ts";
import {
  formatCount,
  formatDuration,
  formatRate,
  formatShare,
} from "../../migration/report/units.ts";
import type { SessionView } from "../service/session.ts";
import { figuresOf } from "./session_figures.ts";

/** What was seen of a session before, and when. */
export interface Seen {
  /** Milliseconds, of any clock that does not go back. */
  readonly at: number;
  readonly sessions: readonly SessionView[];
}

const HEADER = ["SESSION", "IMAGE", "PEER", "STATUS", "LEFT", "HERE", "FAULTS", "LATENCY", "RATE"];
const ALIGN = [
  "left",
  "left",
  "left",
  "left",
  "right",
  "right",
  "right",
  "right",
  "right",
] as const;
/** What is shown in place of what is not known. */
const NONE = "-";
/** Columns that can be shortened, images and peers, and to how many characters: what they are is still seen. */
const SHORTENED = [1, 2] as const;
const SHORTEST = 10;
/** Blanks between two columns. */
const GAP = 2;

/**
 * Draws sessions, a line each, below a heading.
 *
 * @param now the sessions; faults are those so far, and the rate that from the start
 * @param before the same a while ago: then faults and bytes are those a second since
 * @param columns characters of a line, if it can be: names of images and peers are shortened for that, and nothing else
 */
export function sessionTable(now: Seen, before?: Seen, columns: number = Infinity): string[] {
  const rows = now.sessions.map((session) => rowOf(session, now.at, before));
  shorten(rows, columns);
  const [header, _rule, ...lines] = formatTable(rows, { header: HEADER, align: [...ALIGN] });
  return [header!, ...lines];
}

/** Shortens the longest cells that can be, until lines fit, or all of them are short. */
function shorten(rows: readonly string[][], columns: number): void {
  const widths = HEADER.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => [...row[column]!].length))
  );
  let excess = widths.reduce((sum, each) => sum + each + GAP, -GAP) - columns;
  while (excess > 0) {
    const [one, other] = SHORTENED;
    const column = widths[one]! > widths[other]! ? one : other;
    if (widths[column]! <= SHORTEST) break;
    widths[column]!--;
    excess--;
  }
  for (const row of rows) {
    for (const column of SHORTENED) row[column] = shortened(row[column]!, widths[column]!);
  }
}

/** Leaves out the middle: names differ at their ends, and there is a peer's port. */
function shortened(text: string, length: number): string {
  const characters = [...text];
  if (characters.length <= length) return text;
  const end = Math.ceil((length - 1) / 2);
  return [...characters.slice(0, length - 1 - end), "…", ...characters.slice(-end)].join("");
}

function rowOf(session: SessionView, at: number, before: Seen | undefined): string[] {
  const { id, image, peer, status } = session;
  const { left, pages, faults, latency, bytes } = figuresOf(session);
  const earlier = before?.sessions.find((each) => each.id === id);
  const past = earlier === undefined ? undefined : figuresOf(earlier);
  const seconds = before === undefined ? 0 : (at - before.at) / 1000;
  const rateOf = (value: number, old: number | undefined) =>
    old === undefined || seconds <= 0 ? undefined : Math.max(0, value - old) / seconds;
  const byteRate = before === undefined ? meanRate(session, bytes) : rateOf(bytes, past?.bytes);
  const faultRate = faults === undefined ? undefined : rateOf(faults, past?.faults);
  const faultsText = before === undefined
    ? faults === undefined ? NONE : formatCount(faults)
    : faultRate === undefined
    ? NONE
    : `${formatCount(Math.round(faultRate))}/s`;
  return [
    id,
    image,
    peer,
    status,
    left === undefined ? NONE : formatCount(Math.round(left)),
    left === undefined || pages === undefined || pages === 0
      ? NONE
      : formatShare(pages - left, pages),
    faultsText,
    latency === undefined ? NONE : formatDuration(latency),
    byteRate === undefined ? NONE : formatRate(byteRate),
  ];
}

/** Bytes a second over the time that the session says it took; undefined when it does not. */
function meanRate({ statistics }: SessionView, bytes: number): number | undefined {
  const milliseconds = "total-time" in statistics ? statistics["total-time"] : 0;
  return milliseconds === 0 ? undefined : bytes / milliseconds * 1000;
}
