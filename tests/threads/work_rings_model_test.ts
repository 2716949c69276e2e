import { assert, assertEquals, assertFalse, assertGreater } from "@std/assert";
import { WorkRing } from "../../migration/threads/work_ring.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import { Random } from "../support/random.ts";
import { startCountersAt } from "./ring_ends.ts";

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
