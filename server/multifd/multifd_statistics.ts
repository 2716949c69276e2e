/** What a source with multifd reports. */

import type { CompressionMethod } from "../../migration/compression.ts";

/** Figures of the channels that pages go on before the guest runs at the destination. */
export interface MultifdStatistics {
  /** How many there are. */
  readonly channels: number;
  /** How pages are compressed there. */
  readonly compression: CompressionMethod | "none";
  /** Bytes sent on them; part of `transferred`. QEMU has it as `multifd-bytes`. */
  readonly bytes: number;
}
