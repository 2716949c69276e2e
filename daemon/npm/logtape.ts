/** Structured logs. */

// deno-lint-ignore-file no-import-prefix -- see zod_openapi.ts
export {
  configureSync,
  getLogger,
  getTextFormatter,
  jsonLinesFormatter,
  type Logger,
  type LogLevel,
  type LogRecord,
  resetSync,
} from "npm:@logtape/logtape@2.4.2";
