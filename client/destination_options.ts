/** How a destination receives. */

import type { Backing } from "../ffi/memory.ts";
import type { Guest } from "../migration/guest.ts";
import type { SwitchoverAckOptions } from "../migration/protocol/switchover_ack.ts";
import type { AccessOptions } from "./connecting/access.ts";

/** How to receive. */
export interface DestinationOptions extends AccessOptions, SwitchoverAckOptions {
  /** The machine that runs here from the switchover on. */
  readonly guest: Guest;
  /**
   * How its memory is backed; default `"anonymous"`, which costs a fifth less CPU time to fill. A memfd
   * is for a guest whose memory other processes map once the migration is completed.
   */
  readonly backing?: Backing;
  /** Microseconds for which the thread that takes its faults looks again before it sleeps; default 0. */
  readonly spin?: number;
  /**
   * Threads of the pool that decompress pages at most, where the source compresses them, 0 to 255;
   * default 2. With 0 the thread that reads does it.
   */
  readonly decompressThreads?: number;
  /**
   * Channels beside the main one that the source opens, 1 to 255: its parameter `multifd-channels`, where its
   * capability `multifd` is on. Default none. How they are compressed (none, zlib, zstd) they say themselves.
   */
  readonly multifdChannels?: number;
}
