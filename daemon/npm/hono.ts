/** The router. */

// deno-lint-ignore-file no-import-prefix -- see zod_openapi.ts
export type { Context, MiddlewareHandler } from "npm:hono@4.13.19";
