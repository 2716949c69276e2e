/** One span of OpenTelemetry a session, from its start to its end, with an event for each change of its status. */

import { type Span, SpanStatusCode, trace } from "../npm/opentelemetry.ts";
import type { EventLog, LoggedEvent } from "../service/event_log.ts";
import type { SessionView } from "../service/session.ts";
import { readFigures } from "./figures.ts";

/**
 * Tells OpenTelemetry of sessions. Where it is off, each event costs two calls that do nothing.
 *
 * @param events what happens
 * @returns ends that; spans that have begun are ended as they are
 */
export function traceSessions(events: EventLog): Disposable {
  const tracer = trace.getTracer("postcopy");
  const spans = new Map<string, Span>();
  const hear = ({ event, time }: LoggedEvent): void => {
    if (event.event === "started") {
      const { id, direction, image, peer, startedAt } = event.session;
      const attributes = {
        "postcopy.session": id,
        "postcopy.direction": direction,
        "postcopy.image": image,
        "postcopy.peer": peer,
      };
      const startTime = new Date(startedAt);
      spans.set(id, tracer.startSpan(`postcopy ${direction}`, { startTime, attributes }));
    } else if (event.event === "status") {
      const { status, reason, code } = event;
      spans.get(event.id)?.addEvent(status, {
        ...reason === undefined ? {} : { reason },
        ...code === undefined ? {} : { code },
      }, new Date(time));
    } else if (event.event === "ended") {
      const span = spans.get(event.session.id);
      spans.delete(event.session.id);
      if (span !== undefined) end(span, event.session);
    }
  };
  const listening = events.listen(hear);
  return {
    [Symbol.dispose]: () => {
      listening[Symbol.dispose]();
      for (const span of spans.values()) span.end();
      spans.clear();
    },
  };
}

function end(span: Span, session: SessionView): void {
  const { status, reason, endedAt } = session;
  span.setAttribute("postcopy.status", status);
  for (const readings of readFigures(session).values()) {
    for (const key of ["faults", "memory", "late"] as const) {
      const value = readings.get(key)?.get("");
      if (value !== undefined) span.setAttribute(`postcopy.${key}`, value);
    }
    for (const [path, bytes] of readings.get("transferred") ?? []) {
      span.setAttribute(`postcopy.transferred.${path}`, bytes);
    }
  }
  if (status !== "completed") {
    span.setStatus({
      code: SpanStatusCode.ERROR,
      ...reason === undefined ? {} : { message: reason },
    });
  }
  span.end(endedAt === undefined ? undefined : new Date(endedAt));
}
