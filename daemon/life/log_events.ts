/** What happens in the service, written into the log. */

import { isTrouble } from "../../client/command/lazy_report.ts";
import type { Logger } from "../npm/logtape.ts";
import type { EventLog, ServiceEvent } from "../service/event_log.ts";
import type { SessionStatus, SessionView } from "../service/session.ts";
import type { LogLevel } from "./log.ts";

/** A line of the log. */
interface Line {
  readonly level: LogLevel;
  readonly message: string;
  readonly properties: Readonly<Record<string, unknown>>;
}

/** Writes events from now on, until it is disposed of. */
export function logEvents(events: EventLog, logger: Logger): Disposable {
  return events.listen(({ event }) => {
    const { level, message, properties } = lineOf(event);
    logger[level](literal(message), { ...properties });
  });
}

/** How important it is where a session stands; what has ended is told with how. */
const LEVELS: Readonly<Partial<Record<SessionStatus, LogLevel>>> = {
  "postcopy-paused": "warning",
  completed: "debug",
  failed: "debug",
  cancelled: "debug",
};

/** A text as a message of the log, in which braces stand for properties. */
export function literal(text: string): string {
  return text.replaceAll("{", "{{").replaceAll("}", "}}");
}

/** The line for an event. */
export function lineOf(event: ServiceEvent): Line {
  switch (event.event) {
    case "started":
      return { level: "info", message: "Session started", properties: namesOf(event.session) };
    case "status": {
      const { event: _, id, reason, ...more } = event;
      return {
        level: LEVELS[event.status] ?? "info",
        message: `Session is ${event.status}${reason === undefined ? "" : `: ${reason}`}`,
        properties: { session: id, ...more },
      };
    }
    case "note":
      return {
        level: "warning",
        message: event.text,
        properties: event.id === undefined ? {} : { session: event.id },
      };
    case "lazy": {
      const { event: what, ...more } = event.what;
      return {
        level: isTrouble(event.what) ? "warning" : "info",
        message: event.text,
        properties: { session: event.id, what, ...more },
      };
    }
    case "ended": {
      const { status, reason, code, remedy } = event.session;
      const completed = status === "completed";
      return {
        level: completed ? "info" : status === "cancelled" ? "warning" : "error",
        message: `Session ${status}${reason === undefined ? "" : `: ${reason}`}`,
        properties: {
          ...namesOf(event.session),
          ...code === undefined ? {} : { code },
          ...remedy === undefined ? {} : { remedy },
          ...figuresOf(event.session),
        },
      };
    }
    case "forgotten":
      return { level: "debug", message: "Session forgotten", properties: { session: event.id } };
    case "reloaded": // told by whoever was asked for it
      return { level: "debug", message: "Configuration was read again", properties: {} };
    case "draining":
      return {
        level: "debug",
        message: "Ending: no new sessions, and those that guests need are finished",
        properties: {},
      };
  }
}

function namesOf({ id, direction, image, peer }: SessionView): Record<string, unknown> {
  return { session: id, direction, image, peer };
}

/** What a session came to, for whoever reads the log alone. */
function figuresOf({ statistics }: SessionView): Record<string, unknown> {
  if (!("total-time" in statistics)) return {};
  return {
    milliseconds: Math.round(statistics["total-time"]),
    ..."ram" in statistics ? { transferred: statistics.ram.transferred } : {},
  };
}
