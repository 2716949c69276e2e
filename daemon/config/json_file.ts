/** JSON, with its lines; comments and commas at the end of lists are taken. */

import {
  getNodeValue,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from "../npm/jsonc.ts";
import { ConfigError } from "./config_error.ts";
import { Lines, type Located } from "./located.ts";

/**
 * Reads JSON.
 *
 * @param path the file's name, for errors
 * @throws {ConfigError} for text that is none
 */
export function parseJson(path: string, text: string): Located {
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true });
  const lineOf = (offset: number) => text.slice(0, offset).split("\n").length;
  if (root === undefined || errors.length > 0) {
    const faults = errors.map(({ error, offset }) => ({
      line: lineOf(offset),
      message: `No JSON: ${printParseErrorCode(error)}`,
    }));
    throw new ConfigError(path, faults.length > 0 ? faults : [{ line: 0, message: "No JSON" }]);
  }
  const lines = new Lines();
  note(lines, [], root, lineOf);
  return { value: getNodeValue(root), lines };
}

function note(
  lines: Lines,
  path: readonly PropertyKey[],
  { type, children = [] }: Node,
  lineOf: (offset: number) => number,
): void {
  children.forEach((child, index) => {
    const [key, value] = type === "object" ? child.children ?? [] : [undefined, child];
    if (value === undefined) return;
    const place = [...path, key === undefined ? index : key.value as string];
    lines.note(place, lineOf((key ?? value).offset));
    note(lines, place, value, lineOf);
  });
}
