/** Worker entry: places pages of the test pattern where they are missing, until told to end. */

import { FaultReader } from "../../ffi/fault_reader.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { TestPattern, type TestPatternSettings } from "../../workload/test_pattern.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";

/** What to serve. */
export interface FaultJob {
  readonly uffd: number;
  /** An eventfd: ends the job. */
  readonly end: number;
  /** Where page 0 of the pattern is. */
  readonly address: number;
  readonly pattern: TestPatternSettings;
  /** A byte to serve with its lowest bit changed. */
  readonly flip?: { readonly page: number; readonly offset: number };
  /** A page whose faults are left waiting. */
  readonly hold?: number;
}

runWorkerThread<FaultJob, number>((job, tell) => {
  const pattern = new TestPattern(job.pattern);
  using buffer = MappedMemory.anonymous(4096);
  const bytes = buffer.bytes();
  const words = new Int32Array(bytes.buffer);
  const placer = new PagePlacer(job.uffd);
  const reader = new FaultReader(job.uffd, 16);
  const poll = new PollSet(2);
  poll.watch(0, job.uffd, PollEvents.IN);
  poll.watch(1, job.end, PollEvents.IN);
  let placed = 0;
  for (;;) {
    poll.wait(-1);
    if (poll.ready(1) !== 0) return tell(placed);
    const count = reader.read();
    for (let message = 0; message < count; message++) {
      const address = reader.address(message);
      const page = (address - job.address) / 4096;
      if (page === job.hold) continue;
      pattern.expectedPage(page, words);
      if (page === job.flip?.page) bytes[job.flip.offset]! ^= 1;
      const outcome = placer.copy(address, buffer.address, 4096);
      if (outcome === Placement.PLACED) placed++;
      else placer.wake(address, 4096);
    }
  }
});
