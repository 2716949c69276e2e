/** Tables in Markdown, as the README shows them. */

/**
 * Writes a table with its columns aligned, so that it reads in a terminal as well.
 *
 * @param header names of the columns; all but the first are aligned to the right
 * @param rows cells by row
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { markdownTable } from "./markdown.ts";
 *
 * assertEquals(
 *   markdownTable(["mode", "us"], [["vanilla", "12093"]]),
 *   "| mode    |    us |\n| ------- | ----: |\n| vanilla | 12093 |",
 * );
 * ```
 */
export function markdownTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = header.map((name, column) =>
    Math.max(3, name.length, ...rows.map((row) => row[column]?.length ?? 0))
  );
  const line = (cells: readonly string[]): string =>
    `| ${
      widths.map((width, column) => {
        const cell = cells[column] ?? "";
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      }).join(" | ")
    } |`;
  const rule = widths.map((width, column) =>
    column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`
  );
  return [line(header), line(rule), ...rows.map(line)].join("\n");
}

/** Writes nanoseconds as microseconds with three significant digits and no exponent. */
export function microseconds(nanoseconds: number): string {
  return significant(nanoseconds / 1000);
}

/** Writes a number with three significant digits, or as an integer from 100 on. */
export function significant(value: number): string {
  const size = Math.abs(value);
  if (size >= 99.5) return value.toFixed(0);
  return value.toFixed(size >= 9.95 ? 1 : 2);
}
