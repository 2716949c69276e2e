import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Eventfd } from "../../ffi/eventfd.ts";
import { PollSet } from "../../ffi/poll.ts";
import type { TaskPoll } from "../../migration/threads/task.ts";
import { Turns } from "../../server/sending/turns.ts";

/** The poll of a task that is alone on its thread. */
class LonePoll implements TaskPoll {
  readonly #set = new PollSet(2);
  found = 0;
  /** What the task has waited for last, in nanoseconds. */
  waited = 0;

  watch(slot: number, fd: number, events: number): void {
    this.#set.watch(slot, fd, events);
  }
  ready(slot: number): number {
    return this.#set.ready(slot);
  }
  sleep(nanoseconds: number): void {
    this.waited = nanoseconds;
  }
  again(): void {}
  spinUntil(): void {}

  /** Looks once. */
  look(): void {
    this.found = this.#set.wait(0);
  }
}

Deno.test("Turns.nap tells of an event that came in a doze or in another task's turn, and only once", () => {
  using event = new Eventfd();
  for (const wait of ["doze", "give"] as const) {
    const poll = new LonePoll();
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
    assertEquals([nap.next().done, poll.waited], [false, 1e12]);
    poll.look();
    assertEquals(nap.next(), { done: true, value: false });
  }
});
