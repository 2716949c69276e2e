import { assertAlmostEquals, assertEquals } from "@std/assert";
import { guestSeenLatency, type TimedLine } from "../../bench/restore/guest_latency.ts";

function hex(word: number): string {
  return word.toString(16).toUpperCase().padStart(8, "0");
}

/** A round's line as the guest prints it: 1000 ticks are 1 us here. */
function line(round: number, arrivedAt: number, sum: number, slow: number): TimedLine {
  const histogram = new Array<number>(32).fill(0);
  histogram[7] = 1000;
  histogram[17] = slow;
  const tsc = arrivedAt * 1e6;
  const words = [round, Math.floor(tsc / 2 ** 32), tsc % 2 ** 32, 0, sum, ...histogram];
  return { text: `..round ${words.map(hex).join(" ")}`, arrivedAt };
}

Deno.test("guestSeenLatency counts only what the rounds of arrival took beyond a quiet one", () => {
  const quiet = 128_000;
  const lines = [
    line(3, 1000, quiet + 3 * 200_000, 3),
    line(4, 1500, quiet + 200_000, 1),
    line(5, 2000, quiet, 0),
  ];
  const seen = guestSeenLatency(lines)!;
  assertEquals(seen.slow, 4);
  assertAlmostEquals(seen.mean, 200_000, 1); // 200 us in ns
});

Deno.test("guestSeenLatency passes over lines that are no rounds", () => {
  const lines = [
    { text: "nd 00000003", arrivedAt: 900 },
    line(4, 1000, 300_000, 1),
    line(5, 1500, 100_000, 0),
    line(6, 2000, 100_000, 0),
  ];
  assertAlmostEquals(guestSeenLatency(lines)!.mean, 200_000, 1);
});

Deno.test("guestSeenLatency says nothing of a guest that printed too little", () => {
  assertEquals(guestSeenLatency([line(3, 1000, 300_000, 3), line(4, 1500, 100_000, 0)]), undefined);
});
