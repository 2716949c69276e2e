/** Address spaces painted page by page: slow, and too simple to be wrong. */

import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { ADDRESS_LIMIT } from "../../migration/address_space/region_checks.ts";
import type { MemoryCore } from "../../migration/address_space/memory_core.ts";

/** Bytes of a page of the model. */
export const PAGE = 4096;

/** What a page shows: a region and which page of it; undefined for nothing. */
export type Cell = { readonly region: MemoryRegion; readonly page: number } | undefined;

interface Placement {
  readonly parent: ModelRegion;
  page: number;
  priority: number;
  readonly order: number;
}

let additions = 0;

/** A region as the model knows it, beside the one it stands for. Sizes and offsets are in pages. */
export class ModelRegion {
  readonly real: MemoryRegion;
  readonly pages: number;
  readonly target: ModelRegion | undefined;
  readonly targetPage: number;
  enabled = true;
  placement: Placement | undefined;
  readonly children: ModelRegion[] = [];

  constructor(real: MemoryRegion, pages: number, target?: ModelRegion, targetPage = 0) {
    this.real = real;
    this.pages = pages;
    this.target = target;
    this.targetPage = targetPage;
  }

  static make(core: MemoryCore, kind: "container" | "ram" | "io", name: string, pages: number) {
    const size = pages * PAGE;
    if (kind === "container") {
      return new ModelRegion(MemoryRegion.container(core, name, size), pages);
    }
    if (kind === "io") return new ModelRegion(MemoryRegion.io(core, name, size), pages);
    return new ModelRegion(MemoryRegion.ram(core, name, size, { block: name }), pages);
  }

  static alias(core: MemoryCore, name: string, target: ModelRegion, page: number, pages: number) {
    const { real } = target;
    const alias = MemoryRegion.alias(core, name, real, page * PAGE, pages * PAGE);
    return new ModelRegion(alias, pages, target, page);
  }

  /** Whether a region is this one, or is shown by it. */
  shows(other: ModelRegion): boolean {
    return this === other || (this.target?.shows(other) ?? false) ||
      this.children.some((child) => child.shows(other));
  }

  place(child: ModelRegion, page: number, priority: number): void {
    child.placement = { parent: this, page, priority, order: additions++ };
    this.children.push(child);
  }

  take(child: ModelRegion): void {
    child.placement = undefined;
    this.children.splice(this.children.indexOf(child), 1);
  }

  /** Paints what the pages from `from` to `to` of this region show, the first of them at `at`. */
  paint(canvas: Cell[], at: number, from: number, to: number): void {
    if (!this.enabled) return;
    if (this.target !== undefined) {
      this.target.paint(canvas, at, from + this.targetPage, to + this.targetPage);
    } else if (this.real.kind !== "container") {
      for (let page = from; page < to; page++) {
        canvas[at + page - from] = { region: this.real, page };
      }
    }
    const bottomUp = this.children.toSorted((a, b) =>
      a.placement!.priority - b.placement!.priority || a.placement!.order - b.placement!.order
    );
    for (const child of bottomUp) {
      const { page } = child.placement!;
      const low = Math.max(from, page);
      const high = Math.min(to, page + child.pages);
      if (low < high) child.paint(canvas, at + low - from, low - page, high - page);
    }
  }

  /** Returns what each of the region's pages shows. */
  painted(): Cell[] {
    const canvas: Cell[] = new Array(this.pages).fill(undefined);
    this.paint(canvas, 0, 0, this.pages);
    return canvas;
  }
}

/** Compares what pages show; returns the first page that differs, or -1. */
export function firstDifference(a: readonly Cell[], b: readonly Cell[]): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  return a.findIndex((cell, page) =>
    cell?.region !== b[page]?.region || cell?.page !== b[page]?.page
  );
}

/** A page count that is past the end of any address space. */
export const PAST_EVERYTHING: number = ADDRESS_LIMIT / PAGE;
