/** Where the memory of an incoming migration goes: into a guest that will run here, or into an image. */

import type { CompressionMethod } from "../../migration/compression.ts";
import type { AbsentPagesCommand } from "../../migration/protocol/command.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";

/**
 * Takes the pages of the main channel in the order they come, on one thread. Offsets are bytes from
 * the start of the selected block and are checked here: a bad one is a MigrationError `BAD_PEER`.
 */
export interface IncomingMemory {
  /** Whether every page of every block has come and was not discarded since. */
  readonly whole: boolean;
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
  /**
   * Pages that the source does not hold, and never sends: they are here, and zero. Called before the first
   * page, and before {@linkcode IncomingMemory.listen}; nothing is discarded between.
   */
  absent(command: AbsentPagesCommand): void;
  /** From here on pages may be asked for: each comes once more at most, and never replaces another. */
  listen(): void;
  /**
   * The connection is gone, after {@linkcode IncomingMemory.listen}: whole pages are put in place, what came
   * in part is forgotten. The next page comes by another connection, and its block is selected before it.
   */
  restart(): void;
}

/** The same for a stream that may have compressed pages, which need not be in place at once. */
export interface IncomingPages extends IncomingMemory {
  /** Called before the first page: how pages are compressed, where that is not zlib. */
  compressedBy(method: CompressionMethod): void;
  /** A compressed page, at `bytes[at..]` during the call, and while it is held. */
  compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void;
  /**
   * Puts in place what has been decompressed: before a wait for more.
   *
   * @returns false when pages are still on their way: the reader's eventfd is signalled when one of them
   * can be put in place
   */
  settled(): boolean;
  /**
   * True while something that came must wait for pages on their way. Nothing more may come then, and what
   * came stays where it lies; {@linkcode IncomingPages.resume} goes on.
   */
  readonly held: boolean;
  /** Does this when every page that came is in place: now, or it is held until then. */
  settle(then: () => void): void;
  /**
   * Does what was held, if it need not wait any more.
   *
   * @returns false when it must: the reader's eventfd is signalled when there is something to put in place
   */
  resume(): boolean;
}
