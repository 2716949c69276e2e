/** An event of the daemon in a line. */

import type { ServiceEvent } from "../service/event_log.ts";
import { endingOf } from "./session_text.ts";

/**
 * Tells an event.
 *
 * @param kind its kind, which may be one that this program does not know
 * @param data what it tells
 */
export function eventText(kind: string, data: Readonly<Record<string, unknown>>): string {
  const time = typeof data["time"] === "string" ? `${data["time"]} ` : "";
  return `${time}${textOf({ ...data, event: kind } as unknown as ServiceEvent, data)}`;
}

function textOf(event: ServiceEvent, data: Readonly<Record<string, unknown>>): string {
  switch (event.event) {
    case "started": {
      const { id, direction, image, peer } = event.session;
      return `${id}: started: ${direction}, ${image}, ${peer}`;
    }
    case "status": {
      const { id, status, reason, remedy, recover } = event;
      return [
        `${id}: ${status}`,
        ...reason === undefined ? [] : [reason],
        ...remedy === undefined || reason?.includes(remedy) ? [] : [remedy],
        ...recover === undefined ? [] : [`at the other end: ${recover}`],
      ].join(": ");
    }
    case "note":
      return event.id === undefined ? event.text : `${event.id}: ${event.text}`;
    case "lazy":
      return `${event.id}: ${event.text}`;
    case "ended":
      return `${event.session.id}: ${endingOf(event.session)}`;
    case "forgotten":
      return `${event.id}: forgotten`;
    case "reloaded":
      return "The configuration was read again";
    case "draining":
      return "The daemon takes no more sessions, and ends when nobody needs it";
    default:
      return `${(event as { event: string }).event}: ${JSON.stringify(data)}`;
  }
}
