/** What Prometheus reads, written as it reads it. */

// deno-lint-ignore-file no-import-prefix -- see zod_openapi.ts

// Which it would take in whatever version is the newest: not that of opentelemetry.ts, and not one that is cached.
import "npm:@opentelemetry/api@1.9.0";

export { type Metric, Registry } from "npm:prom-client@15.1.3";
