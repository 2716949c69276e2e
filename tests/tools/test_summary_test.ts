import { assertEquals } from "@std/assert";
import { closingLine, sum, SummaryReader } from "../../tools/test_summary.ts";

function read(...pieces: string[]): SummaryReader {
  const reader = new SummaryReader();
  for (const piece of pieces) reader.read(piece);
  return reader;
}

Deno.test("SummaryReader reads the counts behind colours, steps and cuts", () => {
  const reader = read(
    "x ... \x1b[0m\x1b[32mok\x1b[0m\n\n\x1b[0m\x1b[32mok\x1b[0m | 1",
    "2 passed (3 steps) | 0 failed | 4 ignored | 2 filtered out \x1b[38;5;245m(3s)\x1b[0m\n",
  );
  assertEquals(reader.counts, { passed: 12, failed: 0, skipped: 4 });
});

Deno.test("SummaryReader lets the last summary count", () => {
  const reader = read(
    "ok | 9 passed | 0 failed (1s)\n\nFAILED | 1 passed | 2 failed (27ms)\n\nerror: …\n",
  );
  assertEquals(reader.counts, { passed: 1, failed: 2, skipped: 0 });
});

Deno.test("SummaryReader finds no counts where no test ran", () => {
  assertEquals(read("error: Type checking failed\n").counts, undefined);
});

Deno.test("SummaryReader keeps the reasons of skipped tests", () => {
  const reader = read("skipped (no permission): x does y: Needs root\nskipped: not one of ours\n");
  assertEquals(reader.skips, ["skipped (no permission): x does y: Needs root"]);
});

Deno.test("closingLine has the form that CI reads", () => {
  assertEquals(closingLine({ passed: 3, failed: 0, skipped: 1 }), "3 passed, 0 failed, 1 skipped");
});

Deno.test("sum adds up the counts of several runs", () => {
  const runs = [{ passed: 3, failed: 0, skipped: 1 }, { passed: 4, failed: 2, skipped: 0 }];
  assertEquals(closingLine(sum(runs)), "7 passed, 2 failed, 1 skipped");
});
