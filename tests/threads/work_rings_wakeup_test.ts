import { assert, assertEquals, assertFalse, assertGreater } from "@std/assert";
import { interleave } from "./interleave.ts";
import { makeEnds, REQUEST, submit } from "./ring_ends.ts";

Deno.test("WorkRing sleeps through no submission, at whatever moment it comes", () => {
  const moments = interleave(() => {
    const { rings, worker } = makeEnds(0);
    return {
      first: () => worker.words[worker.at(worker.next())],
      second: () => submit(rings),
      check: (request) => assertEquals(request, REQUEST),
    };
  });
  assertGreater(moments, 5);
});

Deno.test("WorkRings.submit wakes a worker that falls asleep at any moment of it", () => {
  interleave(() => {
    const { rings, worker } = makeEnds(0);
    return {
      first: () => submit(rings),
      second: () => worker.words[worker.at(worker.next())],
      check: (_, request) => assertEquals(request, REQUEST),
    };
  });
});

Deno.test("WorkRings.stop ends WorkRing.next at any moment of either, asleep or not", () => {
  for (const stopFirst of [true, false]) {
    interleave<unknown, unknown>(() => {
      const { rings, worker } = makeEnds(0);
      const stop = () => rings.stop();
      const next = () => worker.next();
      return {
        first: stopFirst ? stop : next,
        second: stopFirst ? next : stop,
        check: (first, second) => assertEquals(stopFirst ? second : first, -1),
      };
    });
  }
});

Deno.test("WorkRings.awaitResult sleeps through no result, at whatever moment it comes", () => {
  for (const finishFirst of [true, false]) {
    interleave<unknown, unknown>(() => {
      const { rings, worker } = makeEnds(1);
      const finish = () => {
        worker.next();
        worker.finish();
      };
      const wait = () => rings.awaitResult(Infinity);
      return {
        first: finishFirst ? finish : wait,
        second: finishFirst ? wait : finish,
        check: (first, second) => {
          assertEquals(finishFirst ? second : first, true);
          assertEquals(rings.take(), 0);
        },
      };
    });
  }
});

Deno.test("WorkRings.awaitResult returns on stop and on the burial of who has its requests, at any moment of either", () => {
  for (const otherFirst of [true, false]) {
    for (const stop of [true, false]) {
      interleave<unknown, unknown>(() => {
        const { rings, other } = makeEnds(1);
        const end = () => stop ? other.stop() : other.bury(0);
        const wait = () => rings.awaitResult(Infinity);
        return {
          first: otherFirst ? end : wait,
          second: otherFirst ? wait : end,
          check: (first, second) => {
            assertEquals(otherFirst ? second : first, false);
            assertEquals(rings.abandoned(), stop ? -1 : 0);
          },
        };
      });
    }
  }
});

Deno.test("WorkRings.awaitResult returns when a worker enters, and when one is buried that has nothing", () => {
  for (const enter of [true, false]) {
    const make = () => {
      const { rings, other, idle } = makeEnds(1);
      return {
        first: () => rings.awaitResult(Infinity),
        second: () => enter ? idle.enter() : other.bury(1),
        check: (ready: boolean) => assertFalse(ready),
      };
    };
    // What happens before its first access is no change for it.
    interleave(make, 1);
  }
});

Deno.test("WorkRings.awaitResult does not sleep while nothing is outstanding or something is to be taken back", () => {
  const { rings, other } = makeEnds(0);
  assertFalse(rings.awaitResult(Infinity));
  submit(rings);
  other.bury(0);
  assertFalse(rings.awaitResult(Infinity));
  assertEquals(rings.abandoned(), 0);
  assertFalse(rings.awaitResult(Infinity));
});

Deno.test("WorkRings.awaitResult returns when its time is over", () => {
  const { rings } = makeEnds(1);
  assertFalse(rings.awaitResult(5));
});

Deno.test("WorkRings notify nobody who is awake", () => {
  const { rings, worker } = makeEnds(0);
  let calls = 0;
  const { notify, wait } = Atomics;
  const called = () => void calls++;
  Object.assign(Atomics, { notify: called, wait: called });
  try {
    for (let request = 0; request < 1000; request++) {
      rings.reserve();
      rings.submit();
      worker.next();
      worker.finish();
      assert(rings.awaitResult(Infinity));
      rings.take();
      rings.release();
    }
    rings.bury(0);
    rings.stop();
  } finally {
    Object.assign(Atomics, { notify, wait });
  }
  assertEquals(calls, 0);
});
