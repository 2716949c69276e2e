/** Routes of lazy sessions. */

import { createRoute, z } from "../npm/zod_openapi.ts";
import { lazyRequest } from "../service/requests.ts";
import type { Direction } from "../service/session.ts";
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
import { dirtySchema, lazySchema, sessionSchema } from "./schemas.ts";
import { addWaitRoute } from "./wait_route.ts";

const tags = ["lazy"];
const LAZY: readonly Direction[] = ["lazy"];

const list = createRoute({
  method: "get",
  path: "/v1/lazy",
  tags,
  summary: "Lists the lazy sessions",
  responses: { 200: answer(lazySchema, "The oldest first"), ...PROBLEMS },
});

const start = createRoute({
  method: "post",
  path: "/v1/lazy",
  tags,
  summary: "Serves memory that Firecracker's VMs, or a tree of CRIU's, hand over",
  request: {
    headers: z.object({ "idempotency-key": z.string().optional() }),
    body: body(lazyRequest),
  },
  responses: {
    201: answer(sessionSchema, "It listens"),
    200: answer(sessionSchema, "It was begun by a request with the same key before"),
    ...PROBLEMS,
  },
});

const show = createRoute({
  method: "get",
  path: "/v1/lazy/{id}",
  tags,
  summary: "Shows a lazy session",
  request: { params: idParameter },
  responses: { 200: answer(sessionSchema, "The session"), ...PROBLEMS },
});

const cancel = createRoute({
  method: "post",
  path: "/v1/lazy/{id}/cancel",
  tags,
  summary: "Ends a lazy session; refused where processes need it",
  request: cancelRequest,
  responses: { 200: answer(sessionSchema, "The session"), ...PROBLEMS },
});

const endQuery = z.object({
  force: z.stringbool().default(false).openapi({
    type: "boolean",
    description: "Although processes would stop at the next page that is missing",
  }),
});

const end = createRoute({
  method: "delete",
  path: "/v1/lazy/{id}",
  tags,
  summary: "Ends a lazy session, and forgets it",
  request: { params: idParameter, query: endQuery },
  responses: { 204: { description: "It is gone" }, ...PROBLEMS },
});

const dirty = createRoute({
  method: "get",
  path: "/v1/lazy/{id}/dirty",
  tags,
  summary: "What its processes have written to since they were restored, for the next snapshot",
  request: { params: idParameter },
  responses: { 200: answer(dirtySchema, "A bitmap for each process"), ...PROBLEMS },
});

/** Adds the routes. */
export function addLazyRoutes(api: Api, routing: ApiContext): void {
  const { service } = routing;
  const of = (id: string) => sessionOf(service, id, LAZY);
  api.openapi(list, () => reply({ lazy: service.list("lazy") }));
  api.openapi(start, async (context) => {
    const started = await service.start(context.req.valid("json"), idempotencyKey(context));
    return replyStarted(started, "lazy");
  }, explaining(lazyRequest));
  api.openapi(show, (context) => reply(of(context.req.valid("param").id)));
  addWaitRoute(api, routing, "lazy", LAZY);
  api.openapi(dirty, async (context) => {
    const { id } = of(context.req.valid("param").id);
    const processes = await service.dirtyPages(id);
    return reply({
      processes: processes.map(({ pid, pages, bitmap }) => ({
        pid,
        pages,
        bitmap: bitmap.toBase64(),
      })),
    });
  });
  api.openapi(cancel, async (context) => {
    const { id } = of(context.req.valid("param").id);
    const { force } = context.req.valid("json") ?? {};
    return reply(await service.cancel(id, force));
  }, explaining(cancelBody));
  api.openapi(end, async (context) => {
    const session = of(context.req.valid("param").id);
    if (session.endedAt === undefined) {
      await service.cancel(session.id, context.req.valid("query").force);
    }
    service.forget(session.id);
    return context.body(null, 204);
  }, explaining(endQuery));
}
