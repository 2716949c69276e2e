/** TOML with the place of everything in it. */

// deno-lint-ignore-file no-import-prefix -- see zod_openapi.ts
export { type AST, getStaticTOMLValue, ParseError, parseTOML } from "npm:toml-eslint-parser@1.0.3";
