/** What a thread of the reference model does with a page. */

import { threadCpuNanoseconds } from "../../ffi/clock.ts";
import type { PageCompressor } from "../../ffi/compression/codec.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { MemoryReader } from "../../ffi/memory_reader.ts";
import { PACKED_BYTES, SLOT_BYTES } from "../../migration/compression.ts";
import { WorkRing } from "../../migration/threads/work_ring.ts";
import type { CompressionInit } from "../../server/compression/compression_slots.ts";
import { type CompressPage, runReferenceThread } from "./reference_thread.ts";

/** What a thread is made from. */
export interface ReferenceThreadInit {
  /** Which of the threads, from 0. */
  readonly thread: number;
  /** How many there are. */
  readonly threads: number;
  /** Shared memory of the model. */
  readonly buffer: SharedArrayBuffer;
  /** Address of the first thread's slot. */
  readonly memory: number;
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** The product's rings, idle in this migration: processor times are told through them. */
  readonly rings: Pick<CompressionInit, "shape" | "rings">;
}

/** Pages between two readings of the thread's clock, as in the product. */
const CLOCK_INTERVAL = 64;

/**
 * Copies each page that this thread is given and compresses the copy, until the model is stopped. The
 * context and the views are made once, as in the product: the models differ in how threads meet.
 */
export function compressForReference(init: ReferenceThreadInit, compressor: PageCompressor): void {
  const { thread, threads, buffer, memory, pageSize, rings } = init;
  const slot = memory + thread * SLOT_BYTES;
  const page = viewMemory(slot, pageSize);
  const words = new Int32Array(page.buffer);
  const packed = viewMemory(slot + pageSize, PACKED_BYTES);
  const reader = new MemoryReader();
  const times = new WorkRing(rings.shape, rings.rings, thread);
  const most = pageSize - pageSize / 8;
  let clock = threadCpuNanoseconds();
  let count = 0;
  const compress: CompressPage = (_, address) => {
    reader.copy(address, pageSize, words, 0);
    const bytes = compressor.compress(page, packed);
    if (++count % CLOCK_INTERVAL === 0) {
      const now = threadCpuNanoseconds();
      times.addCpuTime(now - clock);
      clock = now;
    }
    return bytes > most ? 0 : bytes;
  };
  runReferenceThread(buffer, threads, thread, compress);
}
