/** A session that fails, told to whoever listens for spans: a program, for Deno reads what it exports to at its start. */

import { traceSessions } from "../../daemon/metrics/spans.ts";
import { EventLog } from "../../daemon/service/event_log.ts";
import { outgoingView, sourceFigures } from "./sessions.ts";

const events = new EventLog();
using _tracing = traceSessions(events);
events.add({ event: "started", session: outgoingView() });
events.add({ event: "status", id: "a1", status: "postcopy-paused", reason: "the link broke" });
events.add({ event: "status", id: "a1", status: "failed", reason: "the link broke" });
events.add({
  event: "ended",
  session: outgoingView({
    status: "failed",
    reason: "the link broke",
    endedAt: new Date().toISOString(),
    statistics: sourceFigures({ urgent: 300, requests: 3 }),
  }),
});
