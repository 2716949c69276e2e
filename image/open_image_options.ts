/** How an image is opened. */

import type { TakenUpAgain } from "./taken_up.ts";

/** How to open an image. The first opening of a captured stream reads all of it. */
export interface OpenImageOptions {
  /**
   * Where in the file a stream begins, in bytes, that QEMU wrote with `file:FILE,offset=N`. By default at
   * the file's start, or where libvirt put it.
   */
  readonly offset?: number | undefined;
  /** Ends it early: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the bytes read and the bytes in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /**
   * How errors advise to go on with a file that lacks pages; default: in the words of `receive`.
   *
   * @internal
   */
  readonly again?: TakenUpAgain | undefined;
}
