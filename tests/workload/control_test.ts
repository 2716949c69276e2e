import { assert, assertEquals } from "@std/assert";
import { Control } from "../../workload/control.ts";
import { within } from "../support/deadline.ts";

/** A worker that is a thread of a workload, and counts its accesses in the second word it shares. */
function counter(control: Control, thread: number, counts: SharedArrayBuffer): Worker {
  const worker = new Worker(new URL("./control_worker.ts", import.meta.url), { type: "module" });
  worker.postMessage({ control: control.buffer, thread, counts });
  return worker;
}

Deno.test("Control.pause resolves when no thread is in an access, and resume lets them go on", async () => {
  const threads = 3;
  const control = new Control(threads);
  const counts = new SharedArrayBuffer(threads * 4);
  const words = new Int32Array(counts);
  const workers = Array.from({ length: threads }, (_, each) => counter(control, each, counts));
  try {
    control.start();
    for (let round = 0; round < 200; round++) {
      await within("pause", control.pause());
      const sums = words.slice();
      const pausing = control.pause(); // once more, though all are parked
      assert(sums.every((count) => count % 2 === 0), "A thread is in the midst of an access");
      await within("pause of paused threads", pausing);
      assertEquals(words.slice(), sums);
      control.resume();
      if (round % 10 === 0) {
        await within(
          "all threads to go on",
          Promise.all(
            Array.from(sums, (count, each) => Atomics.waitAsync(words, each, count).value),
          ),
        );
      }
    }
    await within("pause", control.pause());
    control.stop();
    await within("the end", control.pause());
  } finally {
    for (const worker of workers) worker.terminate();
  }
});

Deno.test("Control.pause before the start resolves at once", async () => {
  await within("pause", new Control(2).pause());
});

Deno.test("Control.pause does not wait for threads that have ended", async () => {
  const control = new Control(2);
  control.start();
  control.end(0);
  const paused = control.pause();
  control.end(1);
  await within("pause", paused);
});
