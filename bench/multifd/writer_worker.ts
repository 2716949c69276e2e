/** The thread of a guest that writes: see writer_thread.ts. */

import { MemoryWindows } from "../../ffi/memory_windows.ts";
import { type WriterSetup, WriterState } from "./writer_thread.ts";

const PAGE_BYTES = 4096;
/** ms */
const TICK = 1;

/** What the thread is told when it begins. */
type WriterJob = WriterSetup & { readonly state: Int32Array };

const scope = self as unknown as {
  onmessage: (event: MessageEvent<WriterJob>) => void;
  postMessage: (message: "begun" | "ended") => void;
};
scope.onmessage = ({ data }) => {
  const { address, length, rate, state } = data;
  const windows = new MemoryWindows(address, length);
  const pages = length / PAGE_BYTES;
  scope.postMessage("begun");
  let due = 0;
  let before = performance.now();
  let random = 1;
  while (Atomics.wait(state, 0, WriterState.RUNS, TICK) === "timed-out") {
    const now = performance.now();
    due += (now - before) / 1000 * rate;
    before = now;
    Atomics.add(state, 1, Math.floor(due));
    for (; due >= 1; due--) {
      random = Math.imul(random, 1664525) + 1013904223 | 0; // as QEMU's guest does
      const page = Math.floor((random >>> 0) / 2 ** 32 * pages);
      const index = windows.show(page * PAGE_BYTES) / 4;
      windows.words[index]!++;
    }
  }
  scope.postMessage("ended");
};
