/** Which pages of a process are in place: where the process is held, in a memfd that outlives the server. */

import { SyscallError } from "../../../ffi/errno.ts";
import { hostPageSize, MappedMemory, viewMemory } from "../../../ffi/memory.ts";
import { PageBitmap } from "../../../migration/memory/page_bitmap.ts";

/** A bitmap by the numbers of a process's pages. It says what is in place for sure, and may lack some. */
export class PlacedPages implements Disposable {
  readonly bitmap: PageBitmap;
  readonly #memory: MappedMemory | undefined;

  private constructor(length: number, memory: MappedMemory | undefined, from?: PageBitmap) {
    this.#memory = memory;
    this.bitmap = memory === undefined
      ? new PageBitmap(length, from?.buffer.slice(0))
      // Memory that processes share and no SharedArrayBuffer: atomic operations do not care.
      : new PageBitmap(length, viewMemory(memory.address, length / 8).buffer as never);
    if (memory !== undefined && from !== undefined) this.bitmap.copyFrom(from);
  }

  /**
   * Makes one.
   *
   * @param kept whether it is to outlive this process, if a descriptor is left for it
   * @param from what is in place already; copied
   */
  static make(pageCount: number, kept: boolean, from?: PageBitmap): PlacedPages {
    return new PlacedPages(lengthOf(pageCount), kept ? newMemory(pageCount) : undefined, from);
  }

  /**
   * Takes over that of a server that is gone.
   *
   * @param fd its memfd, which may be closed afterwards
   */
  static take(fd: number, pageCount: number): PlacedPages {
    return new PlacedPages(lengthOf(pageCount), MappedMemory.alias(fd, bytesOf(pageCount)));
  }

  /** The memfd behind it; -1: there is none, or it was taken over. */
  get fd(): number {
    return this.#memory?.fd ?? -1;
  }

  /** Frees its memory. */
  [Symbol.dispose](): void {
    this.#memory?.close();
  }
}

/** Whoever goes on without it places pages once more, which the kernel refuses: no reason to end anything. */
function newMemory(pageCount: number): MappedMemory | undefined {
  try {
    return MappedMemory.memfd(bytesOf(pageCount), "postcopy-placed");
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

/** Of the bitmap: at least one word. */
function lengthOf(pageCount: number): number {
  return Math.max(1, Math.ceil(pageCount / 32)) * 32;
}

function bytesOf(pageCount: number): number {
  return Math.ceil(lengthOf(pageCount) / 8 / hostPageSize()) * hostPageSize();
}
