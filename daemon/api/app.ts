/** The interface of the daemon: all routes, with what goes before each. */

import { VERSION } from "../../migration/command/version.ts";
import { createRoute, OpenAPIHono } from "../npm/zod_openapi.ts";
import { guardAccess, type TcpRules } from "./access.ts";
import { limitBody } from "./body.ts";
import { addEventRoutes } from "./event_routes.ts";
import { addImageRoutes } from "./image_routes.ts";
import { addLazyRoutes } from "./lazy_routes.ts";
import { addMetricsRoute } from "./metrics_route.ts";
import { addMigrationRoutes } from "./migration_routes.ts";
import { addPageRoutes } from "./page_routes.ts";
import { problem, problemOf, problemResponse } from "./problems.ts";
import { answer, PROBLEMS } from "./responses.ts";
import { type Api, type ApiContext, type ApiEnv, reply } from "./route_kit.ts";
import { healthSchema } from "./schemas.ts";

/** What the interface is made from. */
export interface AppInit extends ApiContext {
  /** What is asked of those who come in by TCP. */
  readonly tcp: () => TcpRules | undefined;
  /** Told of a mistake of this program. */
  readonly onMistake: (error: unknown) => void;
}

const health = createRoute({
  method: "get",
  path: "/v1/health",
  tags: ["daemon"],
  summary: "Says how the daemon is",
  responses: { 200: answer(healthSchema, "It is there"), ...PROBLEMS },
});

/** Makes the router. */
export function createApp(init: AppInit): Api {
  const { service, tcp, onMistake } = init;
  const api: Api = new OpenAPIHono<ApiEnv>();
  api.use(guardAccess(tcp, (context) => context.env.door));
  api.use(limitBody());
  api.use(async (context, next) => {
    await next();
    context.res.headers.set("x-content-type-options", "nosniff");
  });
  api.onError((error, context) => {
    const { path } = context.req;
    // Hono's own, of a body that is no JSON above all.
    const { status } = error as { status?: unknown };
    if (typeof status === "number" && status < 500) {
      return problemResponse(problem(status, "BAD_REQUEST", error.message, { instance: path }));
    }
    const told = problemOf(error, path);
    if (told !== undefined) return problemResponse(told);
    onMistake(error);
    const detail = "A mistake of the daemon, which its log tells of";
    return problemResponse(problem(500, "MISTAKE", detail, { instance: path }));
  });
  api.notFound((context) => {
    const { path, method } = context.req;
    const detail = `Nothing here: ${method} ${path}: GET /v1/openapi.json tells what there is`;
    return problemResponse(problem(404, "NO_SUCH_PATH", detail, { instance: path }));
  });
  api.openapi(health, () =>
    reply({
      status: service.draining ? "draining" : "ok",
      version: VERSION,
      pid: Deno.pid,
      sessions: service.list().filter(({ endedAt }) => endedAt === undefined).length,
    }));
  addImageRoutes(api, init);
  addMigrationRoutes(api, init);
  addLazyRoutes(api, init);
  addEventRoutes(api, init);
  addMetricsRoute(api, init);
  addPageRoutes(api);
  api.openAPIRegistry.registerComponent("securitySchemes", "token", {
    type: "http",
    scheme: "bearer",
  });
  api.doc31("/v1/openapi.json", {
    openapi: "3.1.0",
    info: {
      title: "postcopy daemon",
      version: VERSION,
      description:
        "Restores, saves and serves the memory of machines. Names and units of options are those of " +
        "the module, states and figures those of QEMU.",
    },
    security: [{ token: [] }],
  });
  return api;
}
