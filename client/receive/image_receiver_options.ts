/** How an image is received. */

import type { SwitchoverAckOptions } from "../../migration/protocol/switchover_ack.ts";
import type { TakenUpAgain } from "../../image/taken_up.ts";
import type { AccessOptions } from "../connecting/access.ts";

/** What to receive into. */
export interface ImageReceiverOptions extends AccessOptions, SwitchoverAckOptions {
  /** The image's name. It appears when the image is complete; until then a file beside it is written. */
  readonly path: string;
  /**
   * The file that a receiver left which was killed, or whose host went down, after the switch to postcopy:
   * it is taken up, and waits for its source to resume (`migrate -r`), which sends all pages again. When the
   * device state had not come whole, the guest is handed back instead: `finished` rejects, and `cont` at the
   * source lets it go on. It must lie in the image's file system. Not for a source with the capability release-ram, which has given up
   * what it sent.
   */
  readonly recover?: string;
  /** Whether an image of that name may be replaced; default false. */
  readonly overwrite?: boolean;
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
  /**
   * How errors advise to take the file up again, looked at when there is one; default: in the words of `receive`.
   *
   * @internal
   */
  readonly again?: TakenUpAgain;
  /** Ends it early: `finished` rejects with what became of the guest. */
  readonly signal?: AbortSignal;
}
