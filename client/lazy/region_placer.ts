/** Placing pages into another process's regions, each with what it must hold now. */

import { MappedMemory } from "../../ffi/memory.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";
import type { MemoryLocator } from "./memory_pages.ts";
import { BASE_PAGE, LARGEST_PAGE, type Region } from "./region.ts";
import type { RegionMap } from "./region_map.ts";
import type { RemovalRecord } from "./removal_record.ts";

/** What became of an attempt. */
export const Attempt = {
  /** Pages are there: see {@linkcode RegionPlacer.pages}. */
  DONE: 0,
  /** The kernel refuses as long as the memory's map changes: try again, after all events were read. */
  LATER: 1,
  /** The range is mapped no longer: nobody can touch it. */
  UNMAPPED: 2,
  /** The process is gone. */
  GONE: 3,
} as const;
/** One of {@linkcode Attempt}. */
export type Attempt = typeof Attempt[keyof typeof Attempt];

/** Hooks of tests, which force an order of events. */
export interface PlacingHooks {
  /** Called when it is decided what a page is to hold, before it is placed. */
  readonly beforePlacing?: (page: number) => void;
}

/** Mapped once a thread needs it: where a huge page is put together, and one of zeros. */
class HugeBuffer implements Disposable {
  readonly #memory = MappedMemory.anonymous(2 * LARGEST_PAGE);
  readonly words: Int32Array<ArrayBuffer> = new Int32Array(
    this.#memory.bytes(0, LARGEST_PAGE).buffer,
    0,
    LARGEST_PAGE / 4,
  );

  get address(): number {
    return this.#memory.address;
  }

  get zeros(): number {
    return this.#memory.address + LARGEST_PAGE;
  }

  [Symbol.dispose](): void {
    this.#memory.close();
  }
}

/**
 * Places pages, on the one thread that also reads the events of the same userfaultfd. This is why no page can
 * become stale: between the look at the record and the ioctl no removal is read, and one that is not read
 * makes the kernel refuse (EAGAIN), or drops the page again behind the ioctl. What is refused is decided
 * anew at the next attempt.
 */
export class RegionPlacer implements Disposable {
  readonly #map: RegionMap;
  readonly #removed: RemovalRecord;
  readonly #memory: MemoryLocator;
  readonly #placer: PagePlacer;
  readonly #protect: boolean;
  readonly #hooks: PlacingHooks;
  #huge: HugeBuffer | undefined;
  #pages = 0;
  #wasPresent = false;

  /**
   * @param fd the userfaultfd, owned elsewhere
   * @param protect whether what is placed is to be told from what was written since
   */
  constructor(
    fd: number,
    map: RegionMap,
    removed: RemovalRecord,
    memory: MemoryLocator,
    protect = false,
    hooks: PlacingHooks = {},
  ) {
    this.#map = map;
    this.#removed = removed;
    this.#memory = memory;
    this.#placer = new PagePlacer(fd, protect);
    this.#protect = protect;
    this.#hooks = hooks;
  }

  /** After `DONE` or `UNMAPPED`: base pages from the one that was tried on that this is true of. */
  get pages(): number {
    return this.#pages;
  }

  /** After `DONE`: whether the first page was there already; then whoever waits for it was woken. */
  get wasPresent(): boolean {
    return this.#wasPresent;
  }

  /** Frees its memory. */
  [Symbol.dispose](): void {
    this.#huge?.[Symbol.dispose]();
  }

  /**
   * Places a page, and those behind it that go with it by one ioctl; of a huge page all of it.
   *
   * @param page a base page; of a huge page the first
   * @param limit the page behind the last that may be placed
   * @throws {MigrationError} `IMAGE_CHANGED`, `IMAGE_UNREADABLE`
   * @throws {SyscallError} for what the kernel cannot do: `EFAULT` for a page of the image, `ENOMEM`
   */
  place(page: number, limit: number): Attempt {
    const index = this.#map.regionOf(page);
    const region = this.#map.regions[index]!;
    const inRegion = (page - this.#map.firstPageOf(index)) * BASE_PAGE;
    if (region.pageSize !== BASE_PAGE) return this.#placeHuge(page, region, inRegion);
    const end = Math.min(limit, this.#map.endOf(index));
    const to = region.address + inRegion;
    const from = this.#onlyContent(page, end, region.offset + inRegion) ||
      this.#content(page, region.offset + inRegion);
    const count = this.#run(page, end, region.offset + inRegion, from);
    this.#hooks.beforePlacing?.(page);
    const placement = from === 0
      ? this.#zero(page, to, count * BASE_PAGE)
      : this.#placer.copy(to, from, count * BASE_PAGE);
    return this.#outcome(placement, to, BASE_PAGE, count);
  }

  /** The kernel's page of zeros counts as written; of what was removed that is right. */
  #zero(page: number, to: number, length: number): Placement {
    return this.#protect && !this.#removed.has(page)
      ? this.#placer.copy(to, this.#buffer().zeros, length)
      : this.#placer.zero(to, length);
  }

  /**
   * Marks a page so that whoever touches it gets SIGBUS.
   *
   * @throws {SyscallError} where the kernel has no such mark (before Linux 6.6)
   */
  poison(page: number): Attempt {
    const index = this.#map.regionOf(page);
    const { address, pageSize } = this.#map.regions[index]!;
    const to = address + (page - this.#map.firstPageOf(index)) * BASE_PAGE;
    return this.#outcome(this.#placer.poison(to, pageSize), to, pageSize, 1);
  }

  /** Has everybody who waits fault again, and so ask again: what another server has read it took with it. */
  wakeAll(): void {
    for (const { address, length } of this.#map.regions) {
      for (let done = 0; done < length; done += MOST_WOKEN) {
        this.#placer.wake(address + done, Math.min(MOST_WOKEN, length - done));
      }
    }
  }

  /** Reports whether the process still has its memory. */
  isAlive(): boolean {
    if (this.#map.pageAt(UNUSED_ADDRESS) >= 0) return true; // and is found to be gone by the next page
    try {
      // Nothing is registered so low: a process that is there says ENOENT, one that is not ESRCH.
      return this.#placer.copy(UNUSED_ADDRESS, this.#buffer().zeros, BASE_PAGE) !==
          Placement.GONE ||
        !this.#placer.processGone;
    } catch {
      return true; // the kernel reserves more than usual there, and does not look further
    }
  }

  /** Address of a page's content for the kernel; 0: zeros. */
  #content(page: number, offset: number): number {
    return this.#removed.has(page) ? 0 : this.#memory.locate(offset);
  }

  /**
   * Address of the content of a page that is placed alone, because somebody waits for it: where it lies in a row
   * nobody reads it before (1.4 us) to see whether it is zero. 0: to be found out.
   */
  #onlyContent(page: number, end: number, offset: number): number {
    return end > page + 1 || this.#removed.has(page) ? 0 : this.#memory.rowAt(offset);
  }

  /** Pages from one on that lie behind each other where they come from too, or are zero as it is. */
  #run(page: number, end: number, offset: number, from: number): number {
    let count = 1;
    while (page + count < end) {
      const next = this.#content(page + count, offset + count * BASE_PAGE);
      if (next !== (from === 0 ? 0 : from + count * BASE_PAGE)) break;
      count++;
    }
    return count;
  }

  /** hugetlbfs knows no zero page, and takes a page as a whole: zeros are copied, parts put together. */
  #placeHuge(page: number, region: Region, inRegion: number): Attempt {
    const to = region.address + inRegion;
    const from = this.#hugeContent(page, region.pageSize / BASE_PAGE, region.offset + inRegion);
    this.#hooks.beforePlacing?.(page);
    const placement = this.#placer.copy(to, from, region.pageSize);
    return this.#outcome(placement, to, region.pageSize, 1);
  }

  #hugeContent(page: number, count: number, offset: number): number {
    const whole = this.#removed.next(page, page + count) < 0;
    const row = whole ? this.#memory.rowAt(offset) : 0;
    if (row !== 0) return row;
    const buffer = this.#buffer();
    let zeros = 0;
    for (let index = 0; index < count; index++) {
      const from = this.#content(page + index, offset + index * BASE_PAGE);
      const word = index * BASE_PAGE / 4;
      if (from !== 0) this.#memory.copy(from, buffer.words, word);
      else {
        buffer.words.fill(0, word, word + BASE_PAGE / 4);
        zeros++;
      }
    }
    return zeros === count ? buffer.zeros : buffer.address;
  }

  #buffer(): HugeBuffer {
    return this.#huge ??= new HugeBuffer();
  }

  #outcome(placement: Placement, to: number, pageSize: number, count: number): Attempt {
    const basePages = pageSize / BASE_PAGE;
    this.#wasPresent = false;
    switch (placement) {
      case Placement.PLACED:
        this.#pages = count * basePages;
        return Attempt.DONE;
      case Placement.PRESENT:
        // A thread may have come to wait between two looks of the kernel at its page.
        this.#placer.wake(to, pageSize);
        this.#wasPresent = true;
        this.#pages = basePages;
        return Attempt.DONE;
      case Placement.RETRY:
        this.#pages = this.#placer.placedBytes / BASE_PAGE;
        return this.#pages > 0 ? Attempt.DONE : Attempt.LATER;
      case Placement.GONE:
        this.#pages = basePages;
        return this.#placer.processGone ? Attempt.GONE : Attempt.UNMAPPED;
    }
  }
}

/** A length that the ioctl's words hold here, which are of 32 bits. */
const MOST_WOKEN = 1024 * 1024 * 1024;
/** The first page that a process may map at all, and hardly any does: vm.mmap_min_addr. */
const UNUSED_ADDRESS = 0x10000;
