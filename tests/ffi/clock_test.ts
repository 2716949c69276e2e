import "../support/native.ts";
import { assert } from "@std/assert";
import { monotonicNanoseconds, threadCpuNanoseconds } from "../../ffi/clock.ts";

Deno.test("threadCpuNanoseconds counts what this thread computes", () => {
  const before = threadCpuNanoseconds();
  let now = before;
  // Ends whatever else the machine does: the clock moves with this loop.
  while (now - before < 5e6) now = threadCpuNanoseconds();
  assert(now - before < 1e9);
});

Deno.test("threadCpuNanoseconds stands nearly still while the thread sleeps", () => {
  const start = monotonicNanoseconds();
  const before = threadCpuNanoseconds();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  const used = threadCpuNanoseconds() - before;
  assert(used < (monotonicNanoseconds() - start) / 2, `${used} ns`);
});
