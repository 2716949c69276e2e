/** Where the memory of an incoming migration goes: into a guest that will run here, or into an image. */

import type { CompressionMethod } from "../../migration/compression.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";

/**
 * Takes the pages of the main channel in the order they come, on one thread. Offsets are bytes from
 * the start of the selected block and are checked here: a bad one is a MigrationError `BAD_PEER`.
 */
export interface IncomingMemory {
  /** Called once, before the first page. */
  open(machine: StreamMachine): void;
  /** The pages that follow are of this block. */
  select(name: string): void;
  /** A page as it is, at `bytes[at..]` and at `address` in this process, during the call. */
  page(offset: number, bytes: Uint8Array, at: number, address: number): void;
  /** A zero page. */
  zeroPage(offset: number): void;
  /** A page as the difference to its content so far. */
  xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void;
  /** The end of a section, or of a piece of input: what was held back goes out. */
  flush(): void;
  /** Forgets pages, which the source will send again. */
  discard(command: DiscardCommand): void;
  /** From here on pages may be asked for: each comes once more at most, and never replaces another. */
  listen(): void;
}

/** The same for a stream that may have compressed pages, which need not be in place at once. */
export interface IncomingPages extends IncomingMemory {
  /** Called before the first page: how pages are compressed, where that is not zlib. */
  compressedBy(method: CompressionMethod): void;
  /** A compressed page, at `bytes[at..]` during the call. */
  compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void;
  /**
   * Puts in place what has been decompressed: before a wait for more.
   *
   * @returns false when pages are still on their way: the reader's eventfd is signalled when one of them
   * can be put in place
   */
  settled(): boolean;
  /** Waits until every page that came is in place: at the end. */
  settle(): void;
}
