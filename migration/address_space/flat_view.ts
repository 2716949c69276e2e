/** What lies where in an address space. */

import type { MemoryRegion } from "./memory_region.ts";

/** A part of an address space that shows one region. */
export interface FlatRange {
  /** Address of its first byte. */
  readonly start: number;
  /** Bytes. */
  readonly length: number;
  /** The RAM or I/O region that is seen there. */
  readonly region: MemoryRegion;
  /** Where in the region the range begins, in bytes. */
  readonly offset: number;
}

/** An I/O event of a region, where the address space shows it. */
export interface FlatEvent {
  /** Address of the write that it waits for. */
  readonly address: number;
  /** Bytes of the write: 1, 2, 4 or 8. */
  readonly size: number;
  /** The value that must be written; undefined for any. */
  readonly value: number | undefined;
  /** What the event belongs to, as given by whoever added it; for example an eventfd's owner. */
  readonly key: object;
}

/** Bytes of a region that a run of addresses begins with. */
export interface Translation {
  /** The RAM or I/O region. */
  readonly region: MemoryRegion;
  /** Where in the region, in bytes. */
  readonly offset: number;
  /** Bytes, at most as many as asked for. */
  readonly length: number;
}

/** What an address space shows: sorted ranges that do not overlap. It never changes. */
export class FlatView {
  readonly #ranges: readonly FlatRange[];
  readonly #events: readonly FlatEvent[];
  #starts: Float64Array | undefined;

  /**
   * Makes a view of ranges and events that are sorted already.
   *
   * @param ranges sorted by address, without overlap
   * @param events sorted by address
   */
  constructor(ranges: readonly FlatRange[], events: readonly FlatEvent[]) {
    this.#ranges = ranges;
    this.#events = events;
  }

  /** The ranges, sorted by address. Adjacent ranges of a region with continuing offsets are one. */
  get ranges(): readonly FlatRange[] {
    return this.#ranges;
  }

  /** The I/O events that are wholly seen, sorted by address. */
  get events(): readonly FlatEvent[] {
    return this.#events;
  }

  /**
   * Returns the range that an address lies in, if there is one.
   *
   * @param address below 2^53
   * @param _reader who asks, named in the error of a debug check; default its line of source
   */
  find(address: number, _reader?: string): FlatRange | undefined {
    // Numbers side by side: following the objects instead takes a cache miss a step.
    const starts = this.#starts ??= Float64Array.from(this.#ranges, ({ start }) => start);
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    const range = this.#ranges[low - 1];
    return range !== undefined && address - range.start < range.length ? range : undefined;
  }

  /**
   * Returns where the bytes from an address lie, as many of them as are in one range; undefined when
   * nothing is there.
   *
   * @param address below 2^53
   * @param length bytes wanted
   * @param reader who asks, as for {@linkcode FlatView.find}
   */
  translate(address: number, length: number, reader?: string): Translation | undefined {
    const range = this.find(address, reader);
    if (range === undefined) return undefined;
    const into = address - range.start;
    return {
      region: range.region,
      offset: range.offset + into,
      length: Math.min(length, range.length - into),
    };
  }
}

/** The view of an address space in which nothing is. */
export const EMPTY_VIEW: FlatView = new FlatView([], []);
