/** Telling the user what happens: the events of a command as JSON for programs, as text for people. */

import { printLine, warnLine } from "./output.ts";
import { ProgressLine } from "../report/progress_line.ts";

/** Who tells the user what happens. */
export interface Reporter<Event> {
  /** Tells an event. */
  event(event: Event): void;
  /** Tells something besides, which is not part of the output. */
  note(text: string): void;
  /** Ends a line that is not complete. */
  end(): void;
}

/**
 * Makes a reporter.
 *
 * @param json whether each event is a line of JSON
 * @param tell writes an event as text; the line is for progress
 */
export function newReporter<Event>(
  json: boolean,
  tell: (event: Event, line: ProgressLine) => void,
): Reporter<Event> {
  const note = (text: string): void => warnLine(`postcopy: ${text}`);
  if (json) return { event: (event) => printLine(JSON.stringify(event)), note, end: () => {} };
  const line = ProgressLine.on(Deno.stderr);
  return {
    event: (event) => tell(event, line),
    note: (text) => {
      line.end();
      note(text);
    },
    end: () => line.end(),
  };
}
