/** Reads what `deno test` says. */

/** How many tests had which end. */
export interface TestCounts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

// deno-lint-ignore no-control-regex -- the escape character that begins a colour
const colour = /\x1b\[[0-9;]*m/g;

/**
 * Picks out of the output of `deno test` its summary, as `ok | 12 passed | 0 failed | 1 ignored
 * (3s)`, and the lines of tests/support/skip.ts, as `skipped (no permission): NAME: REASON`.
 */
export class SummaryReader {
  #rest = "";
  #counts: TestCounts | undefined;
  #skips: string[] = [];

  /** Takes the next piece of the output, cut anywhere. */
  read(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#readLine(line.replaceAll(colour, ""));
  }

  /** What the last summary says; undefined when there is none: it ended before any test ran. */
  get counts(): TestCounts | undefined {
    return this.#counts;
  }

  /** The tests that say why they are skipped, in their order. */
  get skips(): readonly string[] {
    return this.#skips;
  }

  #readLine(line: string): void {
    if (/^skipped \([a-z ]+\): /.test(line)) this.#skips.push(line);
    if (!/^(ok|FAILED) \| \d+ passed/.test(line)) return;
    const count = (word: string): number =>
      Number(new RegExp(`\\| (\\d+) ${word}`).exec(line)?.[1] ?? 0);
    this.#counts = {
      passed: count("passed"),
      failed: count("failed"),
      skipped: count("ignored"),
    };
  }
}

/** Adds up what several runs counted. */
export function sum(runs: readonly TestCounts[]): TestCounts {
  const all = (kind: keyof TestCounts): number => runs.reduce((so, counts) => so + counts[kind], 0);
  return { passed: all("passed"), failed: all("failed"), skipped: all("skipped") };
}

/** The closing line that CI reads. */
export function closingLine(counts: TestCounts): string {
  return `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
}
