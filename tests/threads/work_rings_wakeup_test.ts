import { assert, assertEquals, assertFalse, assertGreater } from "@std/assert";
import { clearEvent, Eventfd } from "../../ffi/eventfd.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import type { WorkRings } from "../../migration/threads/work_rings.ts";
import { interleave } from "./interleave.ts";
import { type Ends, makeEnds, REQUEST, submit } from "./ring_ends.ts";

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

/** Whether the eventfd was signalled. */
function signalled(event: Eventfd): boolean {
  const poll = new PollSet(1);
  poll.watch(0, event.fd, PollEvents.IN);
  return poll.wait(0) > 0;
}

/** Plays one end's doing at any moment of WorkRings.requestWake, and that at any moment of it. */
function interleaveWake(
  act: (ends: Ends) => void,
  check: (rings: WorkRings) => void,
  orders = [true, false],
): void {
  for (const actFirst of orders) {
    interleave<unknown, unknown>(() => {
      const ends = makeEnds(1);
      const event = new Eventfd();
      ends.rings.wakeFd = event.fd;
      const request = () => ends.rings.requestWake();
      return {
        first: actFirst ? () => act(ends) : request,
        second: actFirst ? request : () => act(ends),
        check: (first, second) => {
          const waits = actFirst ? second : first;
          const woken = signalled(event);
          event.close();
          assert(!waits || woken, "Nothing wakes who waits for the descriptor");
          check(ends.rings);
        },
      };
    }, 1); // what happens before its first access is no change for it
  }
}

Deno.test("WorkRings.requestWake misses no result, at whatever moment it comes", () => {
  interleaveWake(({ worker }) => {
    worker.next();
    worker.finish();
  }, (rings) => assertEquals(rings.take(), 0));
});

Deno.test("WorkRings.requestWake misses neither a stop nor a burial nor an entry, at any moment", () => {
  interleaveWake(({ other }) => other.stop(), (rings) => assert(rings.stopped));
  interleaveWake(({ other }) => other.bury(0), (rings) => assertEquals(rings.abandoned(), 0));
  // Who has entered before the request is no change for it.
  interleaveWake(({ idle }) => idle.enter(), (rings) => assertEquals(rings.outstanding, 1), [
    false,
  ]);
});

Deno.test("WorkRings.requestWake has its descriptor signalled once, and only while it is asked", () => {
  const { rings, worker, other } = makeEnds(1);
  using event = new Eventfd();
  rings.wakeFd = event.fd;
  assert(rings.requestWake());
  assertFalse(signalled(event));
  worker.next();
  worker.finish();
  assert(signalled(event));
  clearEvent(event.fd);
  assertFalse(rings.requestWake()); // the result is there
  other.stop();
  assertFalse(signalled(event));
  assertEquals(rings.take(), 0);
  assertFalse(rings.requestWake()); // nothing is outstanding
});

Deno.test("WorkRing.requestWake misses neither a request nor a stop, at whatever moment it comes", () => {
  for (const act of [({ rings }: Ends) => submit(rings), ({ other }: Ends) => other.stop()]) {
    for (const actFirst of [true, false]) {
      interleave<unknown, unknown>(() => {
        const ends = makeEnds(0);
        const event = new Eventfd();
        ends.rings.wakeWorkerBy(0, event.fd);
        const request = () => ends.worker.requestWake();
        return {
          first: actFirst ? () => act(ends) : request,
          second: actFirst ? request : () => act(ends),
          check: (first, second) => {
            const waits = actFirst ? second : first;
            const woken = signalled(event);
            event.close();
            assert(!waits || woken, "Nothing wakes who waits for the descriptor");
            assert(ends.worker.look() >= 0 || ends.worker.stopped);
          },
        };
      });
    }
  }
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
