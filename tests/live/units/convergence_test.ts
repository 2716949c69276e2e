import { assertEquals } from "@std/assert";
import {
  Convergence,
  type PostcopyPolicy,
  switchesToPostcopy,
} from "../../../server/live/convergence.ts";

/** The round, counted from 1, after which a precopy is stuck; 0 when it never is. */
function stuckAfter(...remaining: number[]): number {
  const convergence = new Convergence();
  return remaining.findIndex((pages) => {
    convergence.roundEnded(pages);
    return convergence.stuck;
  }) + 1;
}

Deno.test("Convergence is never stuck while each round leaves less by a quarter", () => {
  assertEquals(stuckAfter(1000, 750, 562, 421, 315, 236, 100, 10, 0), 0);
});

Deno.test("Convergence is stuck after two rounds in a row that left as much as before", () => {
  assertEquals(stuckAfter(1000, 1000, 1000), 3);
  assertEquals(stuckAfter(1000, 900, 810), 3);
  assertEquals(stuckAfter(10, 100, 1000), 3);
});

Deno.test("Convergence forgives one useless round", () => {
  assertEquals(stuckAfter(1000, 1000, 500, 500, 100, 100, 50), 0);
});

Deno.test("Convergence does not take the first round for useless", () => {
  assertEquals(stuckAfter(1e9), 0);
  assertEquals(stuckAfter(1e9, 1e9), 0);
});

function afterRounds(policy: PostcopyPolicy, ...remaining: number[]): boolean[] {
  const convergence = new Convergence();
  return remaining.map((pages, round) => {
    convergence.roundEnded(pages);
    return switchesToPostcopy(policy, round + 1, convergence);
  });
}

Deno.test("switchesToPostcopy never does so by policy never, however stuck", () => {
  assertEquals(afterRounds("never", 9, 9, 9, 9, 9), [false, false, false, false, false]);
});

Deno.test("switchesToPostcopy does so at once by policy now", () => {
  assertEquals(afterRounds("now", 9), [true]);
});

Deno.test("switchesToPostcopy waits for its rounds, and no longer", () => {
  assertEquals(afterRounds(3, 9, 9, 9, 9), [false, false, true, true]);
  assertEquals(afterRounds(1, 9), [true]);
});

Deno.test("switchesToPostcopy by policy auto waits until precopy is stuck", () => {
  assertEquals(afterRounds("auto", 9, 9, 9), [false, false, true]);
  assertEquals(afterRounds("auto", 900, 450, 225, 112), [false, false, false, false]);
});
