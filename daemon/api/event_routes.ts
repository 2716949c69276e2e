/** The route of events. */

import { createRoute, z } from "../npm/zod_openapi.ts";
import { ServiceError } from "../service/service_error.ts";
import { eventStream } from "./event_stream.ts";
import { PROBLEMS } from "./responses.ts";
import type { Api, ApiContext } from "./route_kit.ts";

const events = createRoute({
  method: "get",
  path: "/v1/events",
  tags: ["events"],
  summary: "What happens, as server-sent events; Last-Event-ID goes on behind that one",
  request: { headers: z.object({ "last-event-id": z.string().optional() }) },
  responses: {
    200: {
      content: { "text/event-stream": { schema: z.string() } },
      description:
        "started, status, note, lazy, ended, forgotten, reloaded, draining; missed, with how " +
        "many events, for a reader that is too slow",
    },
    ...PROBLEMS,
  },
});

/** Adds the route. */
export function addEventRoutes(api: Api, { service, ending }: ApiContext): void {
  api.openapi(events, (context) => {
    const text = context.req.header("last-event-id");
    const after = text === undefined ? service.events.last : Number(text);
    if (!Number.isSafeInteger(after)) {
      throw new ServiceError("BAD_REQUEST", `No number of an event in Last-Event-ID: ${text}`);
    }
    return new Response(eventStream(service.events, after, ending), {
      headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
    }) as never;
  });
}
