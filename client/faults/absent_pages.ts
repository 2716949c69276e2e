/** Faults on pages that the source does not hold: they are answered here, with zeros. */

import { MappedMemory } from "../../ffi/memory.ts";
import { type PagePlacer, Placement } from "../../ffi/page_placer.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { BlockMap } from "../placing/block_map.ts";
import { memoryVanished } from "../placing/page_sink.ts";

/**
 * The pages that a source named before the guest ran, and never sends. They count as received, so that no
 * source is asked for one, or sends one after a pause; yet none is made before somebody touches it.
 */
export class AbsentPages implements Disposable {
  readonly #map: BlockMap;
  readonly #placer: PagePlacer;
  readonly #pages: PageBitmap;
  /** Memory that nobody writes, for what the kernel has no zero page for: as long as the largest host page. */
  #zeros: MappedMemory | undefined;

  /**
   * @param map where the blocks lie
   * @param placer of the thread that reads faults
   * @param absent shared memory of the bitmap of these pages
   */
  constructor(map: BlockMap, placer: PagePlacer, absent: SharedArrayBuffer) {
    this.#map = map;
    this.#placer = placer;
    this.#pages = new PageBitmap(map.layout.pageLimit, absent);
  }

  /** Whether the source does not hold a page. */
  has(page: number): boolean {
    return this.#pages.has(page);
  }

  /**
   * Makes a host page of zeros for whoever waits for it, unless there is one since.
   *
   * @param index of the block
   * @param offset bytes from its start
   * @param pageSize bytes of its host page
   * @throws {MigrationError} when the memory is gone
   */
  place(index: number, offset: number, pageSize: number): void {
    const to = this.#map.addressOf(index) + offset;
    let placement: Placement;
    do placement = this.#placeZeros(to, pageSize); while (placement === Placement.RETRY);
    if (placement === Placement.GONE) throw memoryVanished();
    // Another thread touched it first, and this one was not woken by that if it came late.
    if (placement === Placement.PRESENT) this.#placer.wake(to, pageSize);
  }

  /** Frees its memory. */
  [Symbol.dispose](): void {
    this.#zeros?.close();
    this.#zeros = undefined;
  }

  #placeZeros(to: number, pageSize: number): Placement {
    const { blocks, targetPageSize } = this.#map.layout;
    if (pageSize === targetPageSize) return this.#placer.zero(to, pageSize);
    // A hugetlbfs has no zero page (EINVAL).
    this.#zeros ??= MappedMemory.anonymous(Math.max(...blocks.map((block) => block.pageSize)));
    return this.#placer.copy(to, this.#zeros.address, pageSize);
  }
}
