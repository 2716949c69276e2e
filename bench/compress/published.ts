/** The figures that were published for the two models (docs/benchmarks.md, published 2). */

import type { Case } from "./compressed_move.ts";
import type { ThreadingModel } from "./threading_model.ts";

/** Figures of one migration. */
export interface PublishedFigures {
  /** Seconds; undefined when it could not complete. */
  readonly total: number | undefined;
  /** Pages sent uncompressed because no thread was free, of all. */
  readonly busy: number;
  /** Processor time of the migration thread, per cent. */
  readonly sender: number;
  /** Processor time of the compression threads, per cent: the least and the most. */
  readonly compressors: readonly [number, number];
}

/** One row. */
export type PublishedRow = Case & Readonly<Record<ThreadingModel, PublishedFigures>>;

/** Where they were measured. */
export const PUBLISHED_MACHINE =
  "a guest of 16 processors and 120 GiB that is written all the time; 16 decompression threads";

/** The table. */
export const PUBLISHED: readonly PublishedRow[] = [
  {
    threads: 4,
    wait: false,
    before: { total: 247.371, busy: 0.54, sender: 66.2, compressors: [32.4, 36.8] },
    after: { total: 138.326, busy: 0.55, sender: 56.5, compressors: [59.4, 60.9] },
  },
  {
    threads: 4,
    wait: true,
    before: { total: undefined, busy: 0, sender: 55.1, compressors: [51.0, 63.3] },
    after: { total: 338.692, busy: 0, sender: 99.9, compressors: [99.9, 99.9] },
  },
  {
    threads: 8,
    wait: false,
    before: { total: 427.384, busy: 0.19, sender: 43.3, compressors: [17.5, 32.5] },
    after: { total: 125.066, busy: 0.38, sender: 54.5, compressors: [54.5, 56.8] },
  },
  {
    threads: 8,
    wait: true,
    before: { total: undefined, busy: 0, sender: 96.3, compressors: [2.3, 46.8] },
    after: { total: 164.426, busy: 0, sender: 90.6, compressors: [90.6, 91.8] },
  },
  {
    threads: 16,
    wait: false,
    before: { total: 2317.123, busy: 0.02, sender: 56.2, compressors: [6.2, 56.2] },
    after: { total: 149.006, busy: 0.02, sender: 37.8, compressors: [37.8, 40.2] },
  },
  {
    threads: 16,
    wait: true,
    before: { total: 1792.817, busy: 0, sender: 48.3, compressors: [1.7, 31.0] },
    after: { total: 161.423, busy: 0, sender: 43.9, compressors: [42.1, 45.6] },
  },
];

/** The row for a case; undefined when nothing was published for it. */
export function publishedRow({ threads, wait }: Case): PublishedRow | undefined {
  return PUBLISHED.find((row) => row.threads === threads && row.wait === wait);
}
