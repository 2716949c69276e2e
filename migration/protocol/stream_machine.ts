/** What a stream says about its machine before the first page: the same at both ends, and in an image. */

import type { Configuration } from "./configuration.ts";
import type { BlockEntry } from "./ram.ts";

/** The section of the stream that holds memory, as the source names it. */
export interface RamSection {
  /** Section id; never 0, and the destination learns it from SECTION_START. */
  readonly id: number;
  /** Instance id. */
  readonly instance: number;
  /** Version id. */
  readonly version: number;
}

/** A machine as its stream opens: of an image, of a live region, or of an incoming migration. */
export interface StreamMachine {
  /** Machine type, and what else the two ends compare. */
  readonly configuration: Configuration;
  /** Bytes of a target page. */
  readonly targetPageSize: number;
  /** RAM blocks in the order of the stream. */
  readonly blocks: readonly BlockEntry[];
  /** The memory's section. */
  readonly ramSection: RamSection;
  /** To be sent: SECTION_FULLs that come before the memory, verbatim; mostly empty or absent. */
  readonly earlySections?: Uint8Array<ArrayBuffer>;
  /**
   * Received: the OR of the page sizes of all blocks, in bytes, as ADVISE says it; absent without
   * postcopy. What is sent is made from `blocks`.
   */
  readonly pageSizeSummary?: number;
}
