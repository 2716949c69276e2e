/** What the files of routes share. */

import type { OpenAPIHono, z } from "../npm/zod_openapi.ts";
import type { Context } from "../npm/hono.ts";
import { explain } from "../schema/explain.ts";
import type { Service, Started } from "../service/service.ts";
import { ServiceError } from "../service/service_error.ts";
import type { Direction, SessionView } from "../service/session.ts";
import { problem, problemResponse } from "./problems.ts";
import type { Door } from "./access.ts";

/** What Hono is told of a request beside it. */
export interface ApiEnv {
  readonly Bindings: { readonly door: Door };
}

/** The router. */
export type Api = OpenAPIHono<ApiEnv>;

/** What the routes work on. */
export interface ApiContext {
  readonly service: Service;
  /** Aborted when the interface closes: streams and waits end then. */
  readonly ending: AbortSignal;
}

/**
 * Answers with JSON. Its type says nothing, so that a route takes it: tests see that answers fit their schemas.
 */
export function reply(data: unknown, status = 200, headers: Record<string, string> = {}): never {
  return Response.json(data, { status, headers }) as never;
}

/**
 * Answers with a session that was started, or that a request with the same key had started before.
 *
 * @param collection where it is found
 */
export function replyStarted(
  { session, replayed }: Started,
  collection: "lazy" | "migrations",
): never {
  const headers = { location: `/v1/${collection}/${session.id}` };
  return replayed
    ? reply(session, 200, { ...headers, "idempotency-replayed": "true" })
    : reply(session, 201, headers);
}

/**
 * Tells what is wrong with a request, where it does not fit its schema.
 *
 * @param schema of the body
 */
export function explaining(schema: z.ZodType) {
  return (
    result: {
      readonly success: boolean;
      readonly error?: unknown;
      readonly data?: unknown;
      readonly target: string;
    },
    context: Context,
  ): undefined => {
    if (result.success) return undefined;
    const faults = explain(schema, result.error as z.ZodError, result.data);
    return problemResponse(problem(
      400,
      "BAD_REQUEST",
      faults.map(({ path, message }) => `${pointer(path)}: ${message}`).join("; "),
      {
        instance: context.req.path,
        errors: faults.map(({ path, message }) => ({ pointer: pointer(path), detail: message })),
      },
    )) as never; // see reply
  };
}

/** A place in JSON (RFC 6901), as in a URL's fragment. */
function pointer(path: readonly PropertyKey[]): string {
  return ["#", ...path.map((step) => String(step).replaceAll("~", "~0").replaceAll("/", "~1"))]
    .join("/");
}

/**
 * Sees that a session is one of those that a path is about.
 *
 * @throws {ServiceError} `NO_SUCH_SESSION`
 */
export function sessionOf(
  service: Service,
  id: string,
  directions: readonly Direction[],
): SessionView {
  const session = service.get(id);
  if (directions.includes(session.direction)) return session;
  throw new ServiceError(
    "NO_SUCH_SESSION",
    `No session of this kind: ${id}: it is ${session.direction}`,
  );
}

/** Most characters of an idempotency key. */
const LONGEST_KEY = 255;

/**
 * The key by which a request is known when it comes again.
 *
 * @throws {ServiceError} `BAD_REQUEST` for one that is too long
 */
export function idempotencyKey(context: Context): string | undefined {
  const key = context.req.header("idempotency-key");
  if (key === undefined || (key.length > 0 && key.length <= LONGEST_KEY)) return key;
  throw new ServiceError(
    "BAD_REQUEST",
    `Idempotency-Key is 1 to ${LONGEST_KEY} characters, and this one has: ${key.length}`,
  );
}
