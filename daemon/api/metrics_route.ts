/** The route of the figures. */

import { Metrics } from "../metrics/metrics.ts";
import { traceSessions } from "../metrics/spans.ts";
import { createRoute, z } from "../npm/zod_openapi.ts";
import { PROBLEMS } from "./responses.ts";
import type { Api, ApiContext } from "./route_kit.ts";

const metrics = createRoute({
  method: "get",
  path: "/metrics",
  tags: ["daemon"],
  summary: "Figures of all sessions and of the process, as Prometheus reads them",
  responses: {
    200: {
      content: { "text/plain": { schema: z.string() } },
      description: "Prometheus' text format",
    },
    ...PROBLEMS,
  },
});

/** Adds the route; sessions are counted, and traced where that is on, from now on. */
export function addMetricsRoute(api: Api, { service }: ApiContext): void {
  const figures = new Metrics(service);
  traceSessions(service.events);
  api.openapi(metrics, async () =>
    new Response(await figures.text(), {
      headers: { "content-type": Metrics.contentType, "cache-control": "no-store" },
    }) as never);
}
