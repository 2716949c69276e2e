/** Whoever keeps copies of descriptors while servers come and go. */

import type { Held } from "./holder_channel.ts";

/** A server's view of it. */
export interface Keeper {
  /**
   * Has something held; resolves when it is. No event of a userfaultfd may be read before: it would die with this
   * process.
   *
   * @param descriptors of which copies are held
   * @throws {Error} when they are not held
   */
  keep(held: Held, descriptors: readonly number[]): Promise<void>;
  /** Has it held no longer, for nobody needs it; resolves when it is not. */
  drop(id: string): Promise<void>;
  /** Has it told when it is gone, and holds nothing any more. */
  watch(lost: () => void): void;
  /** Leaves everything to the next server. */
  close(): void;
}

/** Called with what is held, whose descriptors are the callee's from then on. */
export type HeldVisitor = (held: Held, descriptors: readonly number[]) => void;
