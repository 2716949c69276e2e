// deno-lint-ignore-file no-console -- part of a command: it shows what the tests print

/** One `deno test`: its output, what it counted, and how it ended. */

import { SummaryReader, type TestCounts } from "./test_summary.ts";

/** Milliseconds for Deno to exit after the last test. */
const EXIT_PATIENCE = 60_000;

/** How a run ended. */
export interface TestRun {
  /** Deno's exit code; 1 also when it ended before any test ran. */
  readonly code: number;
  /** How many tests had which end. */
  readonly counts: TestCounts;
  /** The lines of tests that say why they are skipped. */
  readonly skips: readonly string[];
}

/**
 * Runs `deno test`.
 *
 * @param options of the command
 * @param show takes the output as it comes
 */
export async function runTests(
  options: Deno.CommandOptions,
  show: (chunk: Uint8Array) => Promise<void>,
): Promise<TestRun> {
  const child = new Deno.Command(Deno.execPath(), { ...options, stdout: "piped" }).spawn();
  const decoder = new TextDecoder();
  const summary = new SummaryReader();
  let backstop: ReturnType<typeof setTimeout> | undefined;
  let stuck = false;
  for await (const chunk of child.stdout) {
    summary.read(decoder.decode(chunk, { stream: true }));
    await show(chunk);
    if (summary.counts === undefined || backstop !== undefined) continue;
    // Deno does not exit while a thread of a worker that has ended stands in a system call.
    backstop = setTimeout(() => {
      stuck = true;
      child.kill("SIGKILL");
    }, EXIT_PATIENCE);
  }
  const { code } = await child.status;
  clearTimeout(backstop);
  if (stuck) console.log("The tests had ended, but Deno did not: it was killed");
  const counts = summary.counts ?? { passed: 0, failed: 1, skipped: 0 };
  return { code: stuck && counts.failed === 0 ? 0 : code, counts, skips: summary.skips };
}
