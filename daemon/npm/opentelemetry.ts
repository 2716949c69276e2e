/** What OpenTelemetry is told: nothing happens unless Deno's own support is on (OTEL_DENO=true). */

// deno-lint-ignore-file no-import-prefix -- see zod_openapi.ts
export { type Span, SpanStatusCode, trace } from "npm:@opentelemetry/api@1.10.0";
