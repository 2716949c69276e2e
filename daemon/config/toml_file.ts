/** TOML, with its lines. */

import { type AST, getStaticTOMLValue, ParseError, parseTOML } from "../npm/toml.ts";
import { ConfigError } from "./config_error.ts";
import { Lines, type Located } from "./located.ts";

/**
 * Reads TOML.
 *
 * @param path the file's name, for errors
 * @throws {ConfigError} for text that is none
 */
export function parseToml(path: string, text: string): Located {
  let program: AST.TOMLProgram;
  try {
    program = parseTOML(text, { tomlVersion: "1.0" });
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    throw new ConfigError(path, [{ line: error.lineNumber, message: error.message }]);
  }
  const lines = new Lines();
  for (const node of program.body[0].body) {
    if (node.type === "TOMLKeyValue") {
      noteKeyValue(lines, [], node);
      continue;
    }
    noteKey(lines, [], node.resolvedKey, node);
    for (const each of node.body) noteKeyValue(lines, node.resolvedKey, each);
  }
  return { value: getStaticTOMLValue(program), lines };
}

function noteKeyValue(
  lines: Lines,
  table: readonly PropertyKey[],
  { key, value }: AST.TOMLKeyValue,
): void {
  const names = key.keys.map((each) => each.type === "TOMLBare" ? each.name : each.value);
  noteKey(lines, table, names, key);
  noteValue(lines, [...table, ...names], value);
}

function noteValue(
  lines: Lines,
  path: readonly PropertyKey[],
  value: AST.TOMLContentNode,
): void {
  if (value.type === "TOMLInlineTable") {
    for (const each of value.body) noteKeyValue(lines, path, each);
  } else if (value.type === "TOMLArray") {
    value.elements.forEach((each, index) => {
      lines.note([...path, index], each.loc.start.line);
      noteValue(lines, [...path, index], each);
    });
  }
}

/** Notes a key with dots in it: what is before a dot is a table of that line too. */
function noteKey(
  lines: Lines,
  table: readonly PropertyKey[],
  names: readonly PropertyKey[],
  { loc }: { readonly loc: { readonly start: { readonly line: number } } },
): void {
  for (let length = 1; length <= names.length; length++) {
    lines.note([...table, ...names.slice(0, length)], loc.start.line);
  }
}
