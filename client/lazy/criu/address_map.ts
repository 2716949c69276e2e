/** Where in a process the pages are that it was dumped with, while it moves and removes them. */

import { BASE_PAGE } from "../region.ts";
import { cutOut, indexFrom, type Segment } from "./segments.ts";

/**
 * Asks the kernel whether the process has memory in all of a range that is registered with its userfaultfd.
 *
 * @returns undefined: it cannot be told, for the map is changing
 */
export type IsMapped = (address: number, pages: number) => boolean | undefined;

/** Addresses in a row. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** What a map knows, as it can be kept elsewhere. */
export interface MapState {
  /** Sorted by address, without overlap. `fresh`: moved to where they are since the map was settled. */
  readonly segments: readonly (Omit<Segment, "epoch"> & { readonly fresh: boolean })[];
  readonly displaced: readonly Omit<Segment, "epoch">[];
  readonly doubtful: readonly Range[];
  readonly settled: boolean;
}

/**
 * The addresses of one process that still mean pages of the images: all others, and what was removed from
 * them, read as zeros. Looking up allocates nothing; whatever an event changes is made anew.
 *
 * **Messages of several threads come out of order.** A thread says that it has moved or unmapped memory when
 * it has done so; meanwhile another may have moved its own to the addresses that are free now, and have said
 * so first. (Each `mremap` says twice that the old addresses are free, the second time when who reads has let
 * it go on from the first.) So what was moved to an address is not forgotten by a message of unmapping before
 * the kernel was asked, and what seems to be in its way is kept aside, for whoever says later that it had been
 * moved away. The kernel can be asked, and pages be placed, only when no message is on its way:
 * {@linkcode AddressMap.settle} is to be called before any is placed.
 */
export class AddressMap {
  readonly #segments: Segment[];
  /** What was in the way of something moved, oldest first. */
  #displaced: Segment[] = [];
  /** Where memory was unmapped: before or behind what was moved there. */
  #doubtful: Range[] = [];
  /** Pages moved since the map was settled have this mark. */
  #epoch = 1;
  #settled = true;

  /** @param segments sorted by address, without overlap; copied */
  constructor(segments: readonly Omit<Segment, "epoch">[]) {
    this.#segments = segments.map((segment) => ({ ...segment, epoch: 0 }));
  }

  /** Makes one that knows what another did. */
  static of({ segments, displaced, doubtful, settled }: MapState): AddressMap {
    const map = new AddressMap([]);
    for (const { fresh, ...segment } of segments) {
      map.#segments.push({ ...segment, epoch: fresh ? map.#epoch : 0 });
    }
    map.#displaced = displaced.map((segment) => ({ ...segment, epoch: 0 }));
    map.#doubtful = [...doubtful];
    map.#settled = settled;
    return map;
  }

  /** What it knows. */
  get state(): MapState {
    return {
      segments: this.#segments.map(({ epoch, ...segment }) => ({
        ...segment,
        fresh: epoch === this.#epoch,
      })),
      displaced: this.#displaced.map(({ epoch: _, ...segment }) => segment),
      doubtful: this.#doubtful,
      settled: this.#settled,
    };
  }

  /** Sorted by address. */
  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /** True when all that was said is sure. */
  get settled(): boolean {
    return this.#settled;
  }

  /** Index of the segment that holds an address, or -1. */
  find(address: number): number {
    const index = this.from(address);
    return index < this.#segments.length && this.#segments[index]!.address <= address ? index : -1;
  }

  /** Index of the first segment that ends behind an address: as many as there are when there is none. */
  from(address: number): number {
    return indexFrom(this.#segments, address);
  }

  /** The page at an address, or -1. */
  pageAt(address: number): number {
    const index = this.find(address);
    if (index < 0) return -1;
    const segment = this.#segments[index]!;
    return segment.firstPage + Math.floor((address - segment.address) / BASE_PAGE);
  }

  /** Where a page is, or -1: it was removed. As slow as there are segments. */
  addressOf(page: number): number {
    for (const { address, pages, firstPage } of this.#segments) {
      if (page >= firstPage && page < firstPage + pages) {
        return address + (page - firstPage) * BASE_PAGE;
      }
    }
    return -1;
  }

  /**
   * A range was emptied, and is mapped still (REMOVE).
   *
   * @returns pages that were in it
   */
  remove(start: number, end: number): number {
    return countPages(this.#take(start, end));
  }

  /**
   * A range was unmapped (UNMAP).
   *
   * @returns pages that are sure to be gone
   */
  unmap(start: number, end: number): number {
    this.#settled = false;
    const before = cutOut(this.#displaced, start, end);
    let gone = countPages(before);
    for (const rest of without({ start, end }, before)) {
      const found = this.#take(rest.start, rest.end);
      const fresh = found.filter(({ epoch }) => epoch === this.#epoch);
      gone += countPages(found) - countPages(fresh);
      for (const segment of fresh) {
        this.#insert(segment);
        this.#doubtful.push(rangeOf(segment));
      }
    }
    return gone;
  }

  /** A range was moved (REMAP). */
  move(from: number, to: number, length: number): void {
    this.#settled = false;
    const moved = cutOut(this.#displaced, from, from + length);
    for (const rest of without({ start: from, end: from + length }, moved)) {
      moved.push(...this.#take(rest.start, rest.end));
    }
    for (const segment of this.#take(to, to + length)) {
      // Where it was unmapped before, that was it.
      for (
        const rest of this.#doubtful.reduce(
          (ranges, doubt) => ranges.flatMap((range) => without(range, [doubt])),
          [rangeOf(segment)],
        )
      ) this.#displaced.push(part(segment, rest));
    }
    this.#doubtful = this.#doubtful.flatMap((doubt) =>
      without(doubt, [{ start: to, end: to + length }])
    );
    for (const segment of moved) {
      this.#insert({ ...segment, address: segment.address - from + to, epoch: this.#epoch });
    }
  }

  /**
   * Has the kernel say what is doubtful; to be called when all messages were read.
   *
   * @param gone told of each range that is not mapped, before it is taken out
   * @returns false when it cannot say it now, for messages are on their way
   */
  settle(isMapped: IsMapped, gone: (start: number, end: number) => void = () => {}): boolean {
    while (this.#doubtful.length > 0) {
      const { start, end } = this.#doubtful.at(-1)!;
      for (let index = this.from(start); index < this.#segments.length;) {
        const segment = this.#segments[index]!;
        if (segment.address >= end) break;
        if (!this.#settleSegment(segment, isMapped, gone)) return false;
        index = this.from(segment.address + segment.pages * BASE_PAGE);
      }
      this.#doubtful.pop();
    }
    this.becomeSettled();
    return true;
  }

  /** All that is doubtful is as it seems to be: another has asked the kernel. */
  becomeSettled(): void {
    this.#doubtful = [];
    this.#displaced = [];
    this.#epoch++;
    this.#settled = true;
  }

  /** Takes out the parts of a segment that are not mapped. */
  #settleSegment(
    { address, pages }: Pick<Segment, "address" | "pages">,
    isMapped: IsMapped,
    gone: (start: number, end: number) => void,
  ): boolean {
    const mapped = isMapped(address, pages);
    if (mapped === undefined) return false;
    if (mapped) return true;
    if (pages === 1) {
      gone(address, address + BASE_PAGE);
      this.#take(address, address + BASE_PAGE);
      return true;
    }
    const half = pages >>> 1;
    const middle = address + half * BASE_PAGE;
    return this.#settleSegment({ address, pages: half }, isMapped, gone) &&
      this.#settleSegment({ address: middle, pages: pages - half }, isMapped, gone);
  }

  #take(start: number, end: number): Segment[] {
    return cutOut(this.#segments, start, end, this.from(start), true);
  }

  #insert(segment: Segment): void {
    this.#segments.splice(this.from(segment.address), 0, segment);
  }
}

function rangeOf({ address, pages }: Segment): Range {
  return { start: address, end: address + pages * BASE_PAGE };
}

function countPages(segments: readonly Segment[]): number {
  return segments.reduce((sum, { pages }) => sum + pages, 0);
}

/** The part of a segment that lies in a range within it. */
function part(segment: Segment, { start, end }: Range): Segment {
  const skipped = (start - segment.address) / BASE_PAGE;
  const pages = (end - start) / BASE_PAGE;
  return { ...segment, address: start, pages, firstPage: segment.firstPage + skipped };
}

/** The parts of a range that segments, or other ranges, leave free. */
function without(range: Range, taken: readonly (Segment | Range)[]): Range[] {
  let free = [range];
  for (const each of taken) {
    const { start, end } = "start" in each ? each : rangeOf(each);
    free = free.flatMap((part) =>
      [
        { start: part.start, end: Math.min(part.end, start) },
        { start: Math.max(part.start, end), end: part.end },
      ].filter((rest) => rest.start < rest.end)
    );
  }
  return free;
}
