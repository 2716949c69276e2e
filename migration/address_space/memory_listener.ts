/** Who is told when an address space looks different. */

import type { FlatEvent, FlatRange } from "./flat_view.ts";

/**
 * Is told the difference between two flat views of an address space. The calls of one commit come in
 * the order of the members here: what is deleted goes before anything is added, so that a listener
 * with a limited number of slots can use them again. A commit that changes nothing makes no call.
 *
 * A listener that throws is given the rest of the difference all the same, and so are all others; the
 * error is thrown by the commit when all of them have been told.
 *
 * A listener may change regions. What it changes is committed at once, outside of a transaction, and
 * told to each listener after the calls that it is in.
 */
export interface MemoryListener {
  /** The calls below belong to one commit until {@linkcode MemoryListener.commit}. */
  begin?(): void;
  /** An I/O event is no longer seen at this address. */
  eventDel?(event: FlatEvent): void;
  /** A range is gone, or is no longer exactly this. */
  regionDel?(range: FlatRange): void;
  /** A range is new. In the order of addresses, together with {@linkcode MemoryListener.regionNop}. */
  regionAdd?(range: FlatRange): void;
  /** A range is still what it was. */
  regionNop?(range: FlatRange): void;
  /** An I/O event is now seen at this address. */
  eventAdd?(event: FlatEvent): void;
  /** The difference has been told. */
  commit?(): void;
}
