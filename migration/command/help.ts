/** Help texts, made from the same tables that the commands read their arguments by. */

import type { Options } from "./arguments.ts";
import type { Command, CommandLine } from "./command.ts";
import { VERSION } from "./version.ts";

/** Width of a help text. */
const COLUMNS = 80;
/** Where the meaning of a word begins in a list of words. */
const MEANING = 20;

/**
 * The help of an entry point: its commands, in a line each.
 *
 * @param line the entry point
 */
export function overallHelp({ program, about, commands }: CommandLine): string {
  const listed = Object.entries(commands).map(([name, { summary }]) => [name, summary] as const);
  return [
    ...wrapped(`postcopy ${VERSION}: ${about}`),
    "",
    ...usage(`${program} COMMAND [options]`),
    "",
    "Commands:",
    ...meanings([
      ...listed,
      ["help COMMAND", "tells of one command, as COMMAND --help does"],
      ["version", "prints the version, as --version does"],
    ]),
  ].join("\n");
}

/**
 * The help of one command.
 *
 * @param program what the user types before the command's name
 * @param name the command's
 */
export function commandHelp(program: string, name: string, command: Command): string {
  const { synopsis, about, options, exits } = command;
  return [
    ...usage(`${program} ${name} ${synopsis}`),
    ...about.flatMap((paragraph) => ["", ...wrapped(paragraph)]),
    "",
    "Options:",
    ...optionsHelp(options),
    "",
    "Exit codes:",
    ...meanings(Object.entries(exits)),
  ].join("\n");
}

/** Lines of help for options, and for that which asks for them. */
export function optionsHelp(options: Options): string[] {
  return [
    ...meanings(
      Object.entries(options).map(([name, { value, help }]) => [
        value === undefined ? `--${name}` : `--${name} ${value}`,
        help,
      ]),
    ),
    ...meanings([["-h, --help", "prints this"]]),
  ];
}

function usage(text: string): string[] {
  return wrapped(text, "       ").map((line, i) => i === 0 ? `Usage: ${line.trimStart()}` : line);
}

/** Words with their meanings beside them, below a word that is too long. */
function meanings(entries: readonly (readonly [string, string])[]): string[] {
  return entries.flatMap(([word, meaning]) => {
    const [first = "", ...rest] = wrapped(meaning, " ".repeat(MEANING));
    const head = `  ${word}`;
    if (head.length + 2 > MEANING) return [head, first, ...rest];
    return [head + first.slice(head.length), ...rest];
  });
}

/** Breaks text into lines, each behind an indent; only a word that is longer than a line sticks out. */
function wrapped(text: string, indent = ""): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line !== indent && line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = indent;
    }
    line += line === indent ? word : ` ${word}`;
  }
  return [...lines, line];
}
