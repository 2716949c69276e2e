/** JSON, also with comments, with the place of everything in it. */

// deno-lint-ignore-file no-import-prefix -- see zod_openapi.ts
export {
  getNodeValue,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from "npm:jsonc-parser@3.3.1";
