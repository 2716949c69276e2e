/** What every sending task of a migration is made from. */

import type { ConnectionInit } from "../../channel/connection.ts";
import type { RamBlockSize } from "../../migration/memory/ram_layout.ts";
import type { CompressionInit } from "../compression/compression_slots.ts";
import type { PageSource } from "../../pages/page_locator.ts";
import type { Mode } from "./mode.ts";

/**
 * Entries of the ring that takes requested pages from the request server to the background sender. A
 * destination asks once for a page and has at most one fault a thread under way, so this holds more than
 * any guest's vCPUs; when it is full the return path is simply read later.
 */
export const REQUEST_RING_CAPACITY = 16384;

/** Plain data, structured-cloned into a thread. */
export interface SenderInit {
  /** The RAM blocks, in the order of the stream. */
  readonly blocks: readonly RamBlockSize[];
  /** Bytes of a target page. */
  readonly targetPageSize: number;
  /** Where the pages lie. */
  readonly pages: PageSource;
  /** Shared memory of the dirty bitmap. */
  readonly dirty: SharedArrayBuffer;
  /** Shared memory of the {@linkcode SourceState}. */
  readonly state: SharedArrayBuffer;
  /** Shared memory of the ring of pages that wait for the background sender (vanilla, preempt). */
  readonly requests: SharedArrayBuffer;
  /** Signalled when a page was put into that ring. */
  readonly requestFd: number;
  /** Which of the modes. */
  readonly mode: Mode;
  /** The main channel, whose other direction is the return path. */
  readonly main: ConnectionInit;
  /** Ends the task's waits when a flag of the state changes. */
  readonly wakeFd: number;
  /** Whether the preempt channel ends with an EOS record. */
  readonly preemptEndOfSection: boolean;
  /** The compression threads; absent when pages are sent as they are. */
  readonly compression?: CompressionInit;
  /** Milliseconds without progress after which the destination counts as stalled. */
  readonly stallTimeout: number;
}
