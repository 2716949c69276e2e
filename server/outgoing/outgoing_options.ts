/** What an outgoing migration is made from. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { ThreadPool } from "../../migration/threads/thread_pool.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { CompressionOptions } from "../compression/compression_settings.ts";
import type { PageSource } from "../../pages/page_locator.ts";
import type { Mode } from "../sending/mode.ts";

/** How to reach the destination, and what holds for every outgoing migration. */
export interface OutgoingOptions {
  /** Where the destination listens. */
  readonly to: SocketAddress;
  /** Who sends requested pages and where; default `"preempt-full"`. */
  readonly mode?: Mode;
  /** Bytes a second of the background stream; requested pages are never limited. Default 0, no limit. */
  readonly maxPostcopyBandwidth?: number;
  /** Milliseconds without progress after which the destination counts as stalled; default 30000. */
  readonly stallTimeout?: number;
  /**
   * Microseconds for which the thread that hears requests looks for the next before it sleeps, at
   * the price of a busy core; default 0. Helps where cores are idle: waking one takes 70 us.
   */
  readonly spin?: number;
  /** How the main channel's pages are compressed; default: not at all. */
  readonly compress?: CompressionOptions;
  /** Threads that serve it; default the process's own pool, {@linkcode ThreadPool.shared}. */
  readonly pool?: ThreadPool;
  /** Cancels the migration. */
  readonly signal?: AbortSignal;
}

/** What moves. */
export interface OutgoingMemory {
  /** The blocks, their pages numbered. */
  readonly layout: RamLayout;
  /** Where the pages lie, until the migration is closed. */
  readonly pages: PageSource;
  /** Machine type: it decides how the preempt channel is opened. */
  readonly machine: string;
  /** The `ram` section's id in the stream. */
  readonly sectionId: number;
  /** Whether a guest goes on here unless the destination says that it is loaded there. */
  readonly live: boolean;
}
