import { assert, assertEquals, assertFalse, assertGreater, assertThrows } from "@std/assert";
import { Own, Shared, WorkRing, type WorkRingsShape } from "../../migration/threads/work_ring.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import { Random } from "../support/random.ts";
import { interleave } from "./interleave.ts";

/** What a worker's ring must hold, by the numbers of the requests. */
interface Model {
  state: "absent" | "entered" | "buried";
  requests: number[];
  results: number[];
  taken: number[];
}

const ANSWER = 0x5eed;

// The counters begin shortly before they wrap.
for (const capacity of [1, 2, 4, 16]) {
  Deno.test(`WorkRings of capacity ${capacity} behave as queues of requests and results`, () => {
    const random = new Random(capacity);
    let abandoned = 0;
    let full = 0;
    for (let round = 0; round < 60; round++) {
      const shape = { workers: random.between(1, 5), capacity, words: 3 };
      const { buffer } = new WorkRings(shape);
      startCountersAt(buffer, shape.workers, 2 ** 31 - random.below(40));
      // Two ends of the submitter take turns, as the threads do that submit one after the other.
      const ends = [new WorkRings(shape, buffer), new WorkRings(shape, buffer)];
      const workers = Array.from(
        { length: shape.workers },
        (_, worker) => new WorkRing(shape, buffer, worker),
      );
      const model: Model[] = workers.map(() => ({
        state: "absent",
        requests: [],
        results: [],
        taken: [],
      }));
      let id = 0;
      let end = ends[0]!;
      let usedLast = 0;
      /** Whether the next reservation goes on where the last did, which only the same end knows. */
      let goesOn = false;

      const hasRoom = ({ state, requests, results, taken }: Model): boolean =>
        state === "entered" && requests.length < capacity &&
        requests.length + results.length + taken.length < 2 * capacity;
      const workerOf = (slot: number): number => Math.floor(slot / (2 * capacity));

      const submit = (): void => {
        const slot = end.reserve();
        if (slot < 0) {
          full++;
          assertFalse(model.some(hasRoom));
          const entered = model.filter(({ state }) => state === "entered");
          assertEquals(
            end.allBusy,
            entered.length > 0 && entered.every(({ requests }) => requests.length === capacity),
          );
          return;
        }
        const worker = workerOf(slot);
        assert(hasRoom(model[worker]!));
        if (goesOn && hasRoom(model[usedLast]!)) assertEquals(worker, usedLast);
        usedLast = worker;
        goesOn = true;
        if (random.oneIn(10)) return; // not wanted after all
        const at = end.at(slot);
        end.words[at] = id;
        end.words[at + 2] = ~id;
        end.submit();
        model[worker]!.requests.push(id++);
      };
      const work = (worker: number): void => {
        const { state, requests, results } = model[worker]!;
        if (state !== "entered" || requests.length === 0) return; // it is dead, or would sleep
        const ring = workers[worker]!;
        const slot = ring.next();
        assertEquals(workerOf(slot), worker);
        const at = ring.at(slot);
        assertEquals([ring.words[at], ring.words[at + 2]], [requests[0], ~requests[0]!]);
        if (random.oneIn(4)) return; // it takes its time, and is given the same request again
        ring.words[at + 1] = ring.words[at]! ^ ANSWER;
        ring.finish();
        results.push(requests.shift()!);
      };
      const take = (): void => {
        const slot = end.take();
        if (slot < 0) return assertFalse(model.some(({ results }) => results.length > 0));
        const { results, taken } = model[workerOf(slot)]!;
        taken.push(results.shift()!);
        const at = end.at(slot);
        assertEquals([end.words[at], end.words[at + 1]], [taken.at(-1), taken.at(-1)! ^ ANSWER]);
      };
      const takeBack = (): void => {
        const slot = end.abandoned();
        const left = model.find(({ state, requests }) => state === "buried" && requests.length > 0);
        if (slot < 0) return assertEquals(left, undefined);
        abandoned++;
        const { state, requests } = model[workerOf(slot)]!;
        assertEquals(state, "buried");
        assertEquals(end.words[end.at(slot)], requests.shift());
      };

      for (let step = 0; step < 600; step++) {
        const worker = random.below(shape.workers);
        const own = model[worker]!;
        switch (random.below(9)) {
          case 0:
          case 1:
          case 2:
            submit();
            break;
          case 3:
          case 4:
            work(worker);
            break;
          case 5:
          case 6:
            take();
            break;
          case 7:
            if (random.oneIn(2)) break;
            end.release();
            // Held until here: nothing has been written over them.
            model.forEach(({ taken }) => taken.length = 0);
            break;
          case 8:
            takeBack();
            if (random.oneIn(4)) {
              workers[worker]!.enter();
              if (own.state === "absent") own.state = "entered";
            }
            if (random.oneIn(60)) {
              ends[random.below(2)]!.bury(worker);
              own.state = "buried";
            }
            if (random.oneIn(10)) {
              end = ends[random.below(2)]!;
              goesOn = false;
            }
        }
        const waiting = model.reduce(
          (sum, { requests, results }) => sum + requests.length + results.length,
          0,
        );
        assertEquals(end.outstanding, waiting);
        const ready = model.some(({ results }) => results.length > 0);
        assertEquals(end.awaitResult(0), ready);
      }
      while (end.outstanding > 0) {
        workers.forEach((_, worker) => work(worker));
        take();
        takeBack();
      }
    }
    assertGreater(abandoned, 0);
    assertGreater(full, 0);
  });
}

/** As if so many requests had passed. */
function startCountersAt(buffer: SharedArrayBuffer, workers: number, count: number): void {
  const words = new Int32Array(buffer);
  for (let worker = 0; worker < workers; worker++) {
    const base = Shared.WORKERS + worker * Own.WORDS;
    for (const counter of [Own.SUBMITTED, Own.COMPLETED, Own.TAKEN, Own.RELEASED]) {
      words[base + counter] = count;
    }
  }
}

const SHAPE: WorkRingsShape = { workers: 2, capacity: 1, words: 1 };

interface Ends {
  rings: WorkRings;
  /** The same rings from the control plane. */
  other: WorkRings;
  worker: WorkRing;
  idle: WorkRing;
}

/**
 * Ends of rings of which the first worker has entered, and has had as many requests as bring its
 * counters to the wrap.
 *
 * @param requests so many wait for it
 */
function makeEnds(requests: number): Ends {
  const { buffer } = new WorkRings(SHAPE);
  startCountersAt(buffer, SHAPE.workers, 2 ** 31 - 2);
  const rings = new WorkRings(SHAPE, buffer);
  const worker = new WorkRing(SHAPE, buffer, 0);
  const idle = new WorkRing(SHAPE, buffer, 1);
  worker.enter();
  for (let past = 0; past < 2; past++) {
    submit(rings, PAST);
    worker.next();
    worker.finish();
    rings.take();
    rings.release();
  }
  for (let request = 0; request < requests; request++) submit(rings);
  return { rings, other: new WorkRings(SHAPE, buffer), worker, idle };
}

const PAST = -1;
const REQUEST = 1;

function submit(rings: WorkRings, request = REQUEST): void {
  rings.words[rings.at(rings.reserve())] = request;
  rings.submit();
}

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
  const shape = { workers: 1, words: 1 };
  const rings = new WorkRings(shape);
  const worker = new WorkRing(shape, rings.buffer, 0);
  worker.enter();
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

Deno.test("WorkRings.take goes to the next worker though the last has new results", () => {
  const { rings, worker, idle } = makeEnds(1);
  idle.enter();
  assertEquals(rings.reserve(), 2);
  rings.submit();
  idle.next();
  idle.finish();
  worker.next();
  worker.finish();
  assertEquals(rings.take(), 2);
  rings.release();
  submit(rings);
  idle.next();
  idle.finish();
  assertEquals([rings.take(), rings.take(), rings.take()], [0, 3, -1]);
});

Deno.test("WorkRings.stop leaves results to be taken", () => {
  const { rings, worker } = makeEnds(1);
  worker.next();
  worker.finish();
  rings.stop();
  assertEquals(worker.next(), -1);
  assert(rings.stopped && rings.awaitResult(Infinity));
  assertEquals(rings.take(), 0);
});

Deno.test("WorkRings.bury keeps a worker out that had not entered, once and for all", () => {
  const { rings, idle } = makeEnds(1);
  rings.bury(1);
  rings.bury(1);
  idle.enter();
  assertEquals(rings.reserve(), -1);
  assert(rings.allBusy);
  rings.bury(0);
  assertEquals(rings.reserve(), -1);
  assertFalse(rings.allBusy);
  assertEquals([rings.abandoned(), rings.abandoned()], [0, -1]);
});

Deno.test("WorkRings.submit refuses when nothing is reserved", () => {
  const { rings } = makeEnds(1);
  assertThrows(() => rings.submit(), Error, "call reserve() first");
  assertEquals(rings.reserve(), -1);
  assertThrows(() => rings.submit(), Error, "call reserve() first");
});

Deno.test("WorkRings.cpuTime tells what each worker said", () => {
  const { rings, worker, idle } = makeEnds(0);
  worker.addCpuTime(2 ** 40);
  worker.addCpuTime(0.5);
  idle.addCpuTime(7);
  assertEquals([rings.cpuTime(0), rings.cpuTime(1)], [2 ** 40 + 0.5, 7]);
});

Deno.test("WorkRings refuse a shape that cannot be, another shape's buffer, and a worker that is not there", () => {
  for (const capacity of [0, 3, 2.5, -4, NaN, 2 ** 21]) {
    const make = () => new WorkRings({ workers: 1, capacity, words: 1 });
    assertThrows(make, RangeError, `no power of two up to 2^20: ${capacity}`);
  }
  for (const count of [0, 1.5, -1, NaN]) {
    assertThrows(() => new WorkRings({ workers: count, words: 1 }), RangeError, `: ${count}`);
    assertThrows(() => new WorkRings({ workers: 1, words: count }), RangeError, `: ${count}`);
  }
  const rings = new WorkRings(SHAPE);
  assertThrows(() => new WorkRing({ ...SHAPE, workers: 3 }, rings.buffer, 0), RangeError, "shape");
  for (const worker of [-1, 2, 0.5]) {
    assertThrows(() => rings.bury(worker), RangeError, `no worker: ${worker}`);
    assertThrows(() => new WorkRing(SHAPE, rings.buffer, worker), RangeError, `: ${worker}`);
  }
});
