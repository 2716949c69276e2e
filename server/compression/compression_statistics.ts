/** What a compressing source reports, in the names of QEMU's `query-migrate`. */

import type { CompressionMethod } from "../../migration/compression.ts";
import type { CompressionCounters } from "./compression_counters.ts";

/** Figures of compression; the names are those of QEMU's `CompressionStats` where it has them. */
export interface CompressionStatistics {
  /** How pages are compressed. */
  readonly method: CompressionMethod;
  /** Pages sent compressed. */
  readonly pages: number;
  /** Pages sent as they are because all threads were busy. */
  readonly busy: number;
  /** Their share of the pages that were to be compressed, from 0 to 1. */
  readonly "busy-rate": number;
  /** Pages sent as they are because they do not shrink by an eighth. */
  readonly incompressible: number;
  /**
   * Pages sent as they are, after the switch to postcopy, because the library failed on them or their
   * thread died.
   */
  readonly failed: number;
  /** Bytes of the compressed pages on the wire, without the records' heads. */
  readonly "compressed-size": number;
  /** Bytes of these pages in memory, over that; 0 while there is none. */
  readonly "compression-rate": number;
}

/**
 * Puts the figures together. QEMU's rates are of its last second; these are of the whole migration.
 *
 * @param pageSize bytes of a target page
 */
export function compressionStatistics(
  method: CompressionMethod,
  counters: CompressionCounters,
  pageSize: number,
): CompressionStatistics {
  const { pages, bytes, busy, incompressible, failed } = counters;
  const all = pages + busy + incompressible + failed;
  return {
    method,
    pages,
    busy,
    "busy-rate": all === 0 ? 0 : busy / all,
    incompressible,
    failed,
    "compressed-size": bytes,
    "compression-rate": bytes === 0 ? 0 : pages * pageSize / bytes,
  };
}
