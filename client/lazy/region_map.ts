/** Numbers for the pages of all regions, and where each lies. */

import { BASE_PAGE, type Region } from "./region.ts";

/** Base pages of all regions, numbered from 0 by their addresses. Looking up allocates nothing. */
export class RegionMap {
  /** Sorted by address, without overlap. */
  readonly regions: readonly Region[];
  /** Pages there are. */
  readonly pageCount: number;
  readonly #firstPages: readonly number[];

  /** @param regions as `checkedRegions` returned them */
  constructor(regions: readonly Region[]) {
    this.regions = regions;
    let next = 0;
    this.#firstPages = regions.map(({ length }) => {
      const first = next;
      next += length / BASE_PAGE;
      return first;
    });
    this.pageCount = next;
  }

  /** Returns the number of the page that holds an address, or -1. */
  pageAt(address: number): number {
    let index = this.regions.length - 1;
    // They are few, and most machines have one or two.
    while (index >= 0 && this.regions[index]!.address > address) index--;
    if (index < 0) return -1;
    const { address: start, length } = this.regions[index]!;
    if (address >= start + length) return -1;
    return this.#firstPages[index]! + Math.floor((address - start) / BASE_PAGE);
  }

  /** Returns the index of a page's region. */
  regionOf(page: number): number {
    let index = this.#firstPages.length - 1;
    while (this.#firstPages[index]! > page) index--;
    return index;
  }

  /** Number of a region's first page. */
  firstPageOf(index: number): number {
    return this.#firstPages[index]!;
  }

  /** The page behind a region's last. */
  endOf(index: number): number {
    return this.#firstPages[index]! + this.regions[index]!.length / BASE_PAGE;
  }

  /** The first base page of the host page that holds one. */
  hostPageOf(page: number): number {
    const index = this.regionOf(page);
    const count = this.regions[index]!.pageSize / BASE_PAGE;
    return page - (page - this.#firstPages[index]!) % count;
  }

  /** The page behind a host page, by its first. */
  endOfHostPage(page: number): number {
    return page + this.regions[this.regionOf(page)]!.pageSize / BASE_PAGE;
  }

  /** Where a page lies in the image's memory, in bytes. */
  offsetOf(page: number): number {
    const index = this.regionOf(page);
    return this.regions[index]!.offset + (page - this.#firstPages[index]!) * BASE_PAGE;
  }

  /** Returns the page whose bytes lie at an offset in the image's memory; of several the lowest; -1 without one. */
  pageOfOffset(offset: number): number {
    for (let index = 0; index < this.regions.length; index++) {
      const { offset: start, length } = this.regions[index]!;
      if (offset < start || offset >= start + length) continue;
      return this.#firstPages[index]! + Math.floor((offset - start) / BASE_PAGE);
    }
    return -1;
  }

  /** Calls back with the pages of a range of addresses, as far as regions have them: first and count. */
  eachRun(start: number, end: number, visit: (first: number, count: number) => void): void {
    for (let index = 0; index < this.regions.length; index++) {
      const { address, length } = this.regions[index]!;
      const from = Math.max(start, address);
      const to = Math.min(end, address + length);
      if (from >= to) continue;
      const first = this.#firstPages[index]! + Math.floor((from - address) / BASE_PAGE);
      const last = this.#firstPages[index]! + Math.ceil((to - address) / BASE_PAGE);
      visit(first, last - first);
    }
  }
}
