/** How routes are described. */

import { z } from "../npm/zod_openapi.ts";
import { PROBLEM_TYPE, problemSchema } from "./problems.ts";

/** The answer of a route that succeeds. */
export function answer<S extends z.ZodType>(schema: S, description: string) {
  return { content: { "application/json": { schema } }, description };
}

/** What every route may answer instead. */
export const PROBLEMS = {
  default: {
    content: { [PROBLEM_TYPE]: { schema: problemSchema } },
    description: "What is wrong, and what to do (RFC 9457)",
  },
} as const;

/** The name of a session, in a path. */
export const idParameter = z.object({
  id: z.string().openapi({ param: { name: "id", in: "path" } }),
});

/** The name of an image, in a path. */
export const nameParameter = z.object({
  name: z.string().openapi({ param: { name: "name", in: "path" } }),
});

/** A body of JSON. */
export function body<S extends z.ZodType>(schema: S) {
  return { content: { "application/json": { schema } }, required: true } as const;
}

/** Whether a session is ended whatever is at stake. */
export const cancelBody = z.strictObject({
  force: z.boolean().optional().openapi({
    description: "Although a guest would be lost, or processes would stop",
  }),
});

/** A request that ends a session. */
export const cancelRequest = {
  params: idParameter,
  body: { content: { "application/json": { schema: cancelBody } }, required: false },
} as const;
