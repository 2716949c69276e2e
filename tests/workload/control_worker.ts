/** Worker entry: counts by one before and after each access, until it is stopped. */

import { Control } from "../../workload/control.ts";

interface Job {
  readonly control: SharedArrayBuffer;
  readonly thread: number;
  readonly counts: SharedArrayBuffer;
}

const scope = self as unknown as { onmessage: (event: MessageEvent<Job>) => void };
scope.onmessage = ({ data: { control: buffer, thread, counts } }) => {
  const control = new Control(buffer);
  const words = new Int32Array(counts);
  control.waitForStart();
  while (control.mayRun(thread)) {
    Atomics.add(words, thread, 1);
    for (let spin = 0; spin < 1000; spin++);
    Atomics.add(words, thread, 1);
    Atomics.notify(words, thread);
  }
  control.end(thread);
};
