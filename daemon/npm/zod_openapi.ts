/**
 * Schemas, and routes whose OpenAPI is written from them. The versions stand here alone: not in deno.json, for every
 * task would fetch them, and an installed command is run without it.
 */

// deno-lint-ignore-file no-import-prefix -- see above
import "npm:zod@4.6.7";

export {
  createRoute,
  OpenAPIHono,
  type RouteConfig,
  type RouteHandler,
  z,
} from "npm:@hono/zod-openapi@1.6.3";
