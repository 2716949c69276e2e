import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  carriedWork,
  paceIn,
  tellsPace,
  undisturbed,
  workBy,
  workLost,
  type WorkSample,
  workSeen,
} from "../../bench/disruption/work_lost.ts";

/** Samples every 100 ms from a time on, of so much work each. */
function every100(from: number, ...work: number[]): WorkSample[] {
  return work.map((work, i) => ({ at: from + 100 * i, work }));
}

Deno.test("paceIn leaves out what the first sample tells of, which was done before the stretch", () => {
  const samples = every100(0, 1, 999, 100, 300);
  assertEquals(paceIn(samples, { from: 100, to: 300 }), 2);
});

Deno.test("paceIn does not take a pace from two samples, nor from a guest that does nothing", () => {
  const stretch = { from: 0, to: 1000 };
  assertThrows(() => paceIn(every100(0, 5, 5), stretch), RangeError, "samples: 2");
  assertThrows(() => paceIn(every100(0, 5, 0, 0), stretch), RangeError, "no work in ms: 200");
});

Deno.test("workBy counts whole samples, and of the one around the end its share", () => {
  const samples = every100(100, 10, 20, 40);
  assertEquals(workBy(samples, 0, 200, 0), 30);
  assertEquals(workBy(samples, 0, 225, 0), 40);
});

Deno.test("workBy leaves out what the guest did before it came, over as many samples as it takes", () => {
  const samples = every100(100, 10, 20, 40);
  assertEquals(workBy(samples, 0, 300, 15), 55);
});

Deno.test("workBy takes samples that came at once after a wait as work done in that wait", () => {
  const samples = [{ at: 1000, work: 10 }, { at: 1000, work: 5 }, { at: 1100, work: 5 }];
  assertEquals(workBy(samples, 0, 500, 0), 5);
  assertEquals(workBy(samples, 0, 1000, 0), 10);
  assertEquals(workBy(samples, 0, 1050, 0), 17.5);
});

Deno.test("workBy takes a sample that was heard before the guest was said to run", () => {
  assertEquals(workBy([{ at: 99, work: 7 }, { at: 200, work: 10 }], 100, 150, 0), 12);
});

Deno.test("workBy does not guess beyond the last sample", () => {
  assertThrows(() => workBy(every100(100, 1), 0, 101, 0), RangeError, "after it ran: 101");
});

Deno.test("workLost is the time in which nothing was done", () => {
  // Nothing for 700 ms, then 1 a ms.
  const samples = every100(800, ...new Array<number>(40).fill(100));
  const window = { from: 0, to: 3000 };
  const seen = workSeen(samples, window, { from: 3300, to: 4300 });
  assertEquals(workLost([seen], 3000), [700]);
});

Deno.test("workLost of a guest that nothing disturbed is nothing, with what it carried", () => {
  const samples = every100(60, ...new Array<number>(50).fill(100));
  const window = { from: 0, to: 3000 };
  const seen = workSeen(samples, window, { from: 3300, to: 4300 }, 40);
  assertAlmostEquals(workLost([seen], 3000)[0]!, 0);
});

Deno.test("workLost holds all runs against the same pace, the median", () => {
  const runs = [{ done: 3000, pace: 1 }, { done: 1500, pace: 1 }, { done: 1500, pace: 0.5 }];
  assertEquals(undisturbed(runs), 1);
  assertEquals(workLost(runs, 3000), [0, 1500, 1500]);
  assertEquals(workLost([], 3000), []);
});

Deno.test("workLost of a job is how much longer it took", () => {
  const runs = [{ took: 1500, undisturbed: 1000 }, { took: 900, undisturbed: 1100 }];
  assertEquals(workLost(runs, 3000), [450, -150]);
});

Deno.test("carriedWork is what the guest's pace makes of the time since its last sample", () => {
  assertEquals(carriedWork(every100(0, 999, 100, 100), 250), 50);
});

Deno.test("carriedWork is nothing when the last sample was heard after the stop", () => {
  assertEquals(carriedWork(every100(0, 100, 100, 100), 199), 0);
});

Deno.test("tellsPace waits for samples enough, and for the end of the stretch", () => {
  const stretch = { from: 100, to: 350 };
  assertEquals(tellsPace(every100(0, 1, 1, 1, 1), stretch), false);
  assertEquals(tellsPace(every100(0, 1, 1, 1, 1, 1), stretch), true);
  assertEquals(tellsPace([{ at: 99, work: 1 }, { at: 900, work: 1 }], stretch), false);
});
