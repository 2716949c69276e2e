import { assertAlmostEquals, assertEquals } from "@std/assert";
import { RateLimit } from "../../server/sending/rate_limit.ts";

const MILLISECOND = 1e6;

Deno.test("RateLimit spreads bytes over the time that the bandwidth gives them", () => {
  const limit = new RateLimit(() => 1e6);
  limit.delay(1e9);
  limit.spend(1e9, 50_000);
  assertAlmostEquals(limit.delay(1e9), 40 * MILLISECOND, MILLISECOND); // 10 ms of it are caught up on
  assertEquals(limit.batchBytes, 50_000);
});

Deno.test("RateLimit waits by another bandwidth as soon as there is one, for what was sent before too", () => {
  let bandwidth = 1000;
  const limit = new RateLimit(() => bandwidth);
  limit.spend(1e9, 100_000);
  assertAlmostEquals(limit.delay(1e9), 100e9, 0.1e9);
  bandwidth = 100_000;
  assertAlmostEquals(limit.delay(1e9), 1e9, 0.1e9);
  assertEquals(limit.batchBytes, 5000);
  bandwidth = 0;
  assertEquals(limit.delay(1e9) <= 0, true);
  assertEquals(limit.batchBytes, Infinity);
  limit.spend(1e9, 1e9);
  assertEquals(limit.delay(1e9) <= 0, true);
  bandwidth = 1000;
  assertEquals(limit.delay(2e9) <= 0, true, "what went without a limit is not made up for");
  limit.spend(2e9, 1000);
  assertAlmostEquals(limit.delay(2e9), 1e9, 0.1e9);
});
