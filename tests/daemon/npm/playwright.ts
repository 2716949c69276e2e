/** Drives a browser. Where tests need a package of npm that the daemon does not, it is named here. */

// deno-lint-ignore-file no-import-prefix -- see daemon/npm/zod_openapi.ts
export { type Browser as Driver, chromium, type Page } from "npm:playwright-core@1.65.1";
