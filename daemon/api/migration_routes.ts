/** Routes of migrations. */

import { createRoute, z } from "../npm/zod_openapi.ts";
import { MOST_CELLS } from "../../migration/memory/memory_map.ts";
import { migrationRequest } from "../service/requests.ts";
import { ServiceError } from "../service/service_error.ts";
import type { Direction, SessionView } from "../service/session.ts";
import { answer, body, cancelBody, cancelRequest, idParameter, PROBLEMS } from "./responses.ts";
import {
  type Api,
  type ApiContext,
  explaining,
  idempotencyKey,
  reply,
  replyStarted,
  sessionOf,
} from "./route_kit.ts";
import { mapSchema, sessionSchema, sessionsSchema } from "./schemas.ts";
import { addWaitRoute } from "./wait_route.ts";

const tags = ["migrations"];
const MIGRATIONS: readonly Direction[] = ["outgoing", "incoming"];

const session = answer(sessionSchema, "The migration");

const listQuery = z.object({
  ended: z.coerce.number().int().nonnegative().optional().openapi({
    description: "Of those that have ended so many, the newest; default all",
  }),
});

const list = createRoute({
  method: "get",
  path: "/v1/migrations",
  tags,
  summary: "Lists the migrations, those that have ended too",
  request: { query: listQuery },
  responses: { 200: answer(sessionsSchema, "The oldest first"), ...PROBLEMS },
});

const start = createRoute({
  method: "post",
  path: "/v1/migrations",
  tags,
  summary: "Starts a migration; with the header Idempotency-Key it is started once",
  request: {
    headers: z.object({ "idempotency-key": z.string().optional() }),
    body: body(migrationRequest),
  },
  responses: {
    201: answer(sessionSchema, "It has begun"),
    200: answer(sessionSchema, "It was begun by a request with the same key before"),
    ...PROBLEMS,
  },
});

const show = createRoute({
  method: "get",
  path: "/v1/migrations/{id}",
  tags,
  summary: "Shows a migration",
  request: { params: idParameter },
  responses: { 200: session, ...PROBLEMS },
});

const forget = createRoute({
  method: "delete",
  path: "/v1/migrations/{id}",
  tags,
  summary: "Forgets a migration that has ended",
  request: { params: idParameter },
  responses: { 204: { description: "It is forgotten" }, ...PROBLEMS },
});

const limitsBody = z.strictObject({
  maxPostcopyBandwidth: z.number().nonnegative().openapi({
    description: "Bytes a second; 0: no limit",
  }),
});

const limits = createRoute({
  method: "patch",
  path: "/v1/migrations/{id}",
  tags,
  summary: "Changes the limits of a migration while it runs",
  request: { params: idParameter, body: body(limitsBody) },
  responses: { 200: session, ...PROBLEMS },
});

const pause = createRoute({
  method: "post",
  path: "/v1/migrations/{id}/pause",
  tags,
  summary: "Breaks its connection, as QEMU's migrate-pause",
  request: { params: idParameter },
  responses: { 200: session, ...PROBLEMS },
});

const recoverBody = z.strictObject({
  to: z.string().optional().openapi({
    description: "Where the destination listens now; of an incoming one, where to listen too",
  }),
});

const recover = createRoute({
  method: "post",
  path: "/v1/migrations/{id}/recover",
  tags,
  summary: "Has a paused migration go on now",
  request: {
    params: idParameter,
    body: { content: { "application/json": { schema: recoverBody } }, required: false },
  },
  responses: { 200: session, ...PROBLEMS },
});

const cancel = createRoute({
  method: "post",
  path: "/v1/migrations/{id}/cancel",
  tags,
  summary: "Ends a migration; refused where a guest would be lost",
  request: cancelRequest,
  responses: { 200: session, ...PROBLEMS },
});

const postcopy = createRoute({
  method: "post",
  path: "/v1/migrations/{id}/postcopy",
  tags,
  summary: "Ends a precopy now: the rest follows on demand",
  request: { params: idParameter },
  responses: { 200: session, ...PROBLEMS },
});

const mapQuery = z.object({
  cells: z.coerce.number().int().positive().max(MOST_CELLS).default(1024),
});

const map = createRoute({
  method: "get",
  path: "/v1/migrations/{id}/map",
  tags,
  summary: "Its memory in so many parts, and how many pages of each are where",
  request: { params: idParameter, query: mapQuery },
  responses: { 200: answer(mapSchema, "The parts"), ...PROBLEMS },
});

/** Leaves those out that ended before so many others. */
function withNewestEnded(sessions: readonly SessionView[], most = Infinity): SessionView[] {
  let surplus = sessions.filter(({ endedAt }) => endedAt !== undefined).length - most;
  return sessions.filter(({ endedAt }) => endedAt === undefined || surplus-- <= 0);
}

/** Adds the routes. */
export function addMigrationRoutes(api: Api, routing: ApiContext): void {
  const { service } = routing;
  const of = (id: string) => sessionOf(service, id, MIGRATIONS);
  api.openapi(list, (context) => {
    const { ended } = context.req.valid("query");
    return reply({ migrations: withNewestEnded(service.list(...MIGRATIONS), ended) });
  }, explaining(listQuery));
  api.openapi(start, async (context) => {
    const started = await service.start(context.req.valid("json"), idempotencyKey(context));
    return replyStarted(started, "migrations");
  }, explaining(migrationRequest));
  api.openapi(show, (context) => reply(of(context.req.valid("param").id)));
  api.openapi(forget, (context) => {
    const { id } = of(context.req.valid("param").id);
    service.forget(id);
    return context.body(null, 204);
  });
  api.openapi(limits, (context) => {
    const { id } = of(context.req.valid("param").id);
    return reply(service.setLimits(id, context.req.valid("json")));
  }, explaining(limitsBody));
  api.openapi(pause, async (context) => {
    const { id } = of(context.req.valid("param").id);
    return reply(await service.pause(id));
  });
  api.openapi(recover, async (context) => {
    const { id } = of(context.req.valid("param").id);
    const { to } = context.req.valid("json") ?? {};
    return reply(await service.recover(id, to));
  }, explaining(recoverBody));
  api.openapi(cancel, async (context) => {
    const { id } = of(context.req.valid("param").id);
    const { force } = context.req.valid("json") ?? {};
    return reply(await service.cancel(id, force));
  }, explaining(cancelBody));
  api.openapi(postcopy, (context) => {
    const { id } = of(context.req.valid("param").id);
    return reply(service.startPostcopy(id));
  });
  addWaitRoute(api, routing, "migrations", MIGRATIONS);
  api.openapi(map, (context) => {
    const { id } = of(context.req.valid("param").id);
    const map = service.map(id, context.req.valid("query").cells);
    if (map !== undefined) return reply(map);
    throw new ServiceError("UNSUPPORTED", `Memory of this session is not known: ${id}`);
  }, explaining(mapQuery));
}
