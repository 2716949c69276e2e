/** What happened in a run, in its order. */

/** Lines with the milliseconds at which each was written. */
export class RunLog {
  readonly lines: string[] = [];
  readonly #begin = performance.now();

  /** Adds a line. */
  add(what: string): void {
    this.lines.push(`${this.milliseconds.toFixed(0).padStart(6)} ms  ${what}`);
  }

  /** Milliseconds since it began. */
  get milliseconds(): number {
    return performance.now() - this.#begin;
  }
}

/** An error's code and message. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { code?: string };
  return code === undefined ? `${error.name}: ${error.message}` : `${code}: ${error.message}`;
}
