/** The targets of bench:sessions. */

import { significant } from "../support/markdown.ts";
import { overRepetitions, ratioOfPairs } from "../support/statistics.ts";
import type { Target } from "../support/target.ts";
import type { SessionsRow } from "./measure.ts";
import { memoryOfSession, SESSION_ENDS, sessionsText } from "./report.ts";
import { perSession } from "./rest.ts";

/** Sessions that the targets speak of: what they cost together is not judged with fewer. */
const MANY = 1000;
/** Bytes of a session beyond its bitmaps. */
const MEMORY = 2 ** 20;
/** Milliseconds until all guests run. */
const START = 5000;
/** p99 with many sessions over that with one. */
const WITH_MANY = 3;
/** p99 beside a flood over that without. */
const WITH_FLOOD = 2;
/** Wake-ups a second of a session that are none: one in a hundred seconds is somebody else's. */
const NO_WAKE_UPS = 0.01;

function whenMany(row: SessionsRow, met: boolean): Pick<Target, "met" | "because"> {
  if (row.sessions >= MANY) return { met };
  return { met: undefined, because: `${MANY} sessions are asked for` };
}

/** Holds rows, the fewest sessions first, against the targets. */
export function sessionsTargets(rows: readonly SessionsRow[]): Target<number | string>[] {
  const [one] = rows;
  const most = rows.at(-1);
  if (one === undefined || most === undefined) return [];
  const sessions = sessionsText(most.sessions);
  const targets: Target<number | string>[] = [];
  for (const end of SESSION_ENDS) {
    const bytes = memoryOfSession(most, end);
    targets.push({
      what: `${sessions}, ${end}: less than 1 MiB each beyond bitmaps, MiB`,
      value: bytes / MEMORY,
      ...whenMany(most, bytes < MEMORY),
    });
  }
  if (one.sessions === 1 && most !== one) {
    for (const end of SESSION_ENDS) {
      const [few, many] = [one, most].map((row) => row[end].held.threads);
      targets.push({
        what: `${sessions}, ${end}: no more threads in a process than with 1`,
        value: `${many}, with 1 ${few}`,
        met: many! <= few!,
      });
    }
  }
  targets.push({
    what: `${sessions}: all guests run within 5 s, ms`,
    value: most.start,
    ...whenMany(most, most.start < START),
  });
  if (one.sessions === 1 && most !== one) {
    const [few, many] = [one, most].map(({ waits }) => overRepetitions(waits).p99);
    targets.push({
      what: `${sessions}: p99 less than ${WITH_MANY} times that with 1, at the same rate`,
      value: many! / few!,
      met: many! / few! < WITH_MANY,
    });
  }
  const p99 = (key: "waits" | "flooded") => most[key].map((summary) => summary.p99);
  const { median, least, most: worst } = ratioOfPairs(p99("flooded"), p99("waits"));
  targets.push({
    what: `${sessions}: a flood raises the p99 of the others less than ${WITH_FLOOD} times`,
    value: median,
    met: median < WITH_FLOOD,
    because: `${significant(least)} to ${significant(worst)}`,
  });
  for (const end of SESSION_ENDS) {
    const value = perSession(most[end], most.sessions, "wakeUps");
    targets.push({
      what: `${sessions}, ${end}: an idle session costs no wake-up, a second`,
      value,
      met: value < NO_WAKE_UPS,
    });
  }
  return targets;
}
