import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Eventfd } from "../../ffi/eventfd.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { type TaskKind, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { Turns } from "../../server/sending/turns.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { HandPoll } from "../support/hand_poll.ts";
import type { TurnsJob, Wait } from "./turns_worker.ts";

const WAITING: TaskKind<TurnsJob, boolean> = {
  thread: new URL("./turns_worker.ts", import.meta.url),
  name: "waiting",
  urgent: false,
};
const FOR_EVER = 3600e9;
const SHORT = 1e6;

/** Has a task wait; returns what its naps returned, and whether the event is still there. */
async function play(event: Eventfd, ...waits: Wait[]): Promise<[naps: boolean[], left: boolean]> {
  await using pool = new ThreadPool({ bulkThreads: 1, linger: 0 });
  const naps: boolean[] = [];
  const task = pool.task(WAITING, (woken) => naps.push(woken));
  task.run({ event: event.fd, waits });
  await within("the task's end", task.ended);
  await task.join();
  const poll = new PollSet(1);
  poll.watch(0, event.fd, PollEvents.IN);
  return [naps, poll.wait(0) > 0];
}

Deno.test(
  "Turns.nap tells whether an event ended it, and clears that",
  leavingNoDescriptors(async () => {
    using event = new Eventfd();
    event.signal();
    assertEquals(await play(event, FOR_EVER, SHORT), [[true, false], false]);
  }),
);

Deno.test(
  "Turns.nap returns at once after an event that was found between two naps",
  leavingNoDescriptors(async () => {
    using event = new Eventfd();
    event.signal();
    // The event is found by the pause: what it said may not have been looked at since.
    assertEquals(await play(event, "pause", "give", FOR_EVER, SHORT), [[true, false], false]);
  }),
);

Deno.test(
  "Turns.leave neither waits for the event any more nor clears it",
  leavingNoDescriptors(async () => {
    using event = new Eventfd();
    event.signal();
    assertEquals(await play(event, "leave", "give", SHORT), [[false], true]);
  }),
);

Deno.test("Turns.nap tells of an event that came in a doze or in another task's turn, and only once", () => {
  using event = new Eventfd();
  for (const wait of ["doze", "give"] as const) {
    const poll = new HandPoll();
    const turns = new Turns(poll, {
      events: [event.fd, -1],
      stopped: () => false,
      stallTimeout: 1000,
    });
    const steps = wait === "doze" ? turns.doze(50e3) : turns.give();
    assertEquals(steps.next().done, false);
    event.signal();
    poll.look();
    assertEquals(steps.next().done, true);
    poll.look();
    assertEquals(poll.found, 0); // cleared: it would wake the task without end
    assertEquals(turns.nap(1e12).next(), { done: true, value: true });
    const nap = turns.nap(1e12);
    assertEquals([nap.next().done, poll.patience], [false, 1e12]);
    poll.look();
    assertEquals(nap.next(), { done: true, value: false });
  }
});
