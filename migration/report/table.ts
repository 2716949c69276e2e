/** Tables of aligned columns. */

/** To which side the cells of a column are moved. */
export type Alignment = "left" | "right";

/** What a table looks like beside its cells. */
export interface TableOptions {
  /** One for each column; default left for the first and right for the rest. */
  readonly align?: readonly Alignment[];
  /** Column headings; a rule is drawn below them. */
  readonly header?: readonly string[];
  /** Put before each line. */
  readonly indent?: string;
}

/**
 * Draws rows of cells as lines whose columns are aligned. A row may have fewer cells than others.
 *
 * @param rows cells, one character wide per code point
 * @returns lines without line ends or trailing blanks
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { formatTable } from "./table.ts";
 *
 * assertEquals(formatTable([["pages", "131,072"], ["wrong", "0"]]), [
 *   "pages  131,072",
 *   "wrong        0",
 * ]);
 * ```
 */
export function formatTable(
  rows: readonly (readonly string[])[],
  options: TableOptions = {},
): string[] {
  const { header, align, indent = "" } = options;
  const widths: number[] = [];
  for (const row of header === undefined ? rows : [header, ...rows]) {
    row.forEach((cell, column) => widths[column] = Math.max(widths[column] ?? 0, width(cell)));
  }
  const line = (row: readonly string[]): string =>
    (indent + row.map((cell, column) => {
      const blanks = " ".repeat(widths[column]! - width(cell));
      const side = align?.[column] ?? (column === 0 ? "left" : "right");
      return side === "left" ? cell + blanks : blanks + cell;
    }).join("  ")).trimEnd();
  const lines = rows.map(line);
  if (header !== undefined) {
    lines.unshift(line(header), indent + widths.map((count) => "─".repeat(count)).join("  "));
  }
  return lines;
}

function width(cell: string): number {
  return [...cell].length;
}
