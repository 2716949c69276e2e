/** Errors as answers: problem details of RFC 9457, with the codes of the module's errors. */

import { codeOf } from "../service/session_record.ts";
import { ServiceError } from "../service/service_error.ts";
import { z } from "../npm/zod_openapi.ts";

/** An error as it is told. */
export const problemSchema = z.object({
  type: z.string().openapi({ example: "about:blank" }),
  title: z.string().openapi({ example: "Conflict" }),
  status: z.int().openapi({ example: 409 }),
  detail: z.string(),
  code: z.string().openapi({
    description: "For programs: of the service, or of the module's error",
    example: "GUEST_AT_STAKE",
  }),
  instance: z.string().optional(),
  remedy: z.string().optional(),
  errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional().openapi({
    description: "Of a request that cannot be understood: what is wrong with it, and where",
  }),
}).openapi("Problem");

/** See {@linkcode problemSchema}. */
export type Problem = z.infer<typeof problemSchema>;

/** The type of content of a problem. */
export const PROBLEM_TYPE = "application/problem+json";

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  422: "Unprocessable Content",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  507: "Insufficient Storage",
};

/** What status an error has, by its code. Of the module's errors not in here it is 422: the request was good. */
const STATUSES: Readonly<Record<string, number>> = {
  NO_SUCH_SESSION: 404,
  NO_SUCH_IMAGE: 404,
  "not-found": 404,
  BAD_NAME: 400,
  BAD_REQUEST: 400,
  BAD_ADDRESS: 400,
  BEING_SERVED: 409,
  HANDED_OVER: 409,
  GUEST_AT_STAKE: 409,
  WRONG_STATE: 409,
  UNSUPPORTED: 409,
  EEXIST: 409,
  EADDRINUSE: 409,
  TOO_MANY_SESSIONS: 503,
  TOO_MUCH_MEMORY: 503,
  DRAINING: 503,
  NOT_YET: 503,
  NO_DIRECTORY: 503,
  KEY_REUSED: 422,
  UNKNOWN_HOST: 422,
};

/** Errors whose message is for the user. */
const TOLD = new Set([
  "ServiceError",
  "ImageError",
  "MigrationError",
  "TlsError",
  "SyscallError",
  "SocketAddressError",
  "HandedOverError",
  "UnsupportedPlatformError",
  "CompressionError",
  "RangeError",
  "UsageError",
]);

/** Makes the answer of an error. */
export function problemResponse(problem: Problem): Response {
  return new Response(JSON.stringify(problem), {
    status: problem.status,
    headers: {
      "content-type": PROBLEM_TYPE,
      ...problem.status === 401 ? { "www-authenticate": 'Bearer realm="postcopy"' } : {},
      ...problem.status === 503 ? { "retry-after": "5" } : {},
    },
  });
}

/**
 * Makes a problem.
 *
 * @param status of HTTP
 * @param code for programs
 * @param detail what is wrong, with the value, and what to do
 * @param more what else is known of it
 */
export function problem(
  status: number,
  code: string,
  detail: string,
  more: Pick<Problem, "instance" | "remedy" | "errors"> = {},
): Problem {
  return { type: "about:blank", title: TITLES[status] ?? "Error", status, detail, code, ...more };
}

/**
 * Makes a problem of an error.
 *
 * @param error what was thrown
 * @param instance the path that was asked for
 * @returns undefined for a mistake of this program, of which nothing is told
 */
export function problemOf(error: unknown, instance: string): Problem | undefined {
  if (!(error instanceof Error) || !TOLD.has(error.name)) return undefined;
  const code = codeOf(error) ?? (error.name === "RangeError" ? "BAD_REQUEST" : "FAILED");
  const remedy = error instanceof ServiceError ? error.remedy : undefined;
  const status = error.name === "UsageError" ? 400 : STATUSES[code] ?? 422;
  return problem(status, code, error.message, {
    instance,
    ...remedy === undefined ? {} : { remedy },
  });
}
