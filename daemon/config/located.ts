/** Data that knows in which line of its file each part of it is. */

/** The line of each part, by its place. */
export class Lines {
  readonly #lines = new Map<string, number>();

  /** Notes a place: keys from the outside in. A place that is named again keeps its first line. */
  note(path: readonly PropertyKey[], line: number): void {
    const key = keyOf(path);
    if (!this.#lines.has(key)) this.#lines.set(key, line);
  }

  /** The line of a place, or of what it is in; 0 when that is the whole file. */
  of(path: readonly PropertyKey[]): number {
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(keyOf(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return 0;
  }
}

/** Data of a file. */
export interface Located {
  readonly value: unknown;
  readonly lines: Lines;
}

function keyOf(path: readonly PropertyKey[]): string {
  return JSON.stringify(path.map(String));
}
