/** The route that waits for a session, of each kind of sessions. */

import { createRoute, z } from "../npm/zod_openapi.ts";
import type { Until } from "../service/service.ts";
import { type Direction, SESSION_STATUSES } from "../service/session.ts";
import { answer, idParameter, PROBLEMS } from "./responses.ts";
import { type Api, type ApiContext, explaining, reply, sessionOf } from "./route_kit.ts";
import { sessionSchema } from "./schemas.ts";

/** Seconds. */
const DEFAULT_WAIT = 60;
const LONGEST_WAIT = 3600;

const waitQuery = z.object({
  for: z.enum(["ended", ...SESSION_STATUSES]).default("ended"),
  timeout: z.coerce.number().nonnegative().max(LONGEST_WAIT).default(DEFAULT_WAIT).openapi({
    description: "Seconds",
  }),
});

/**
 * Adds the route.
 *
 * @param collection where the sessions are found
 * @param directions which they are
 */
export function addWaitRoute(
  api: Api,
  { service, ending }: ApiContext,
  collection: "lazy" | "migrations",
  directions: readonly Direction[],
): void {
  const wait = createRoute({
    method: "get",
    path: `/v1/${collection}/{id}/wait`,
    tags: [collection],
    summary: "Answers when it stands there, has ended, or the time is over",
    request: { params: idParameter, query: waitQuery },
    responses: { 200: answer(sessionSchema, "The session as it is then"), ...PROBLEMS },
  });
  api.openapi(wait, async (context) => {
    const { id } = sessionOf(service, context.req.valid("param").id, directions);
    const { for: until, timeout } = context.req.valid("query");
    const timer = new AbortController();
    const timed = setTimeout(() => timer.abort(), timeout * 1000);
    try {
      const signal = AbortSignal.any([timer.signal, ending]);
      return reply(await service.wait(id, until as Until, signal));
    } finally {
      clearTimeout(timed);
    }
  }, explaining(waitQuery));
}
