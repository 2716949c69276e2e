/** Ways to place the pages of a received piece of a stream. */

import type { Backing } from "../../ffi/memory.ts";
import { type Arena, PAGE, PIECE_PAGES, RECORD } from "./arena.ts";

/** A way of placing pages. */
export interface Way {
  /** What the table calls it. */
  readonly name: string;
  /** What it places in. */
  readonly backing: Backing;
  /** Whether it places through the userfaultfd. */
  readonly registered: boolean;
  /** Places all pages of an arena. */
  readonly fill: (arena: Arena) => void;
}

/** Where a page's content lies in the piece. */
function contentAt(page: number): number {
  return (page % PIECE_PAGES) * RECORD + 8;
}

function write({ memory, piece, pages }: Arena): void {
  const to = memory.bytes();
  const from = piece.bytes();
  for (let page = 0; page < pages; page++) {
    const at = contentAt(page);
    to.set(from.subarray(at, at + PAGE), page * PAGE);
  }
}

function copyEach({ memory, piece, placer, pages }: Arena): void {
  for (let page = 0; page < pages; page++) {
    placer.copy(memory.address + page * PAGE, piece.address + contentAt(page), PAGE);
  }
}

function gatherAndCopy(run: number): (arena: Arena) => void {
  return ({ memory, piece, batch, placer, pages }) => {
    const from = piece.bytes();
    const gathered = batch.bytes();
    for (let first = 0; first < pages; first += run) {
      for (let page = 0; page < run; page++) {
        const at = contentAt(first + page);
        gathered.set(from.subarray(at, at + PAGE), page * PAGE);
      }
      placer.copy(memory.address + first * PAGE, batch.address, run * PAGE);
    }
  };
}

function writeAndContinue(run: number): (arena: Arena) => void {
  return ({ memory, alias, piece, placer, pages }) => {
    const from = piece.bytes();
    const to = alias.bytes();
    for (let first = 0; first < pages; first += run) {
      for (let page = first; page < first + run; page++) {
        const at = contentAt(page);
        to.set(from.subarray(at, at + PAGE), page * PAGE);
      }
      placer.continue(memory.address + first * PAGE, run * PAGE);
    }
  };
}

function zero(run: number): (arena: Arena) => void {
  return ({ memory, placer, pages }) => {
    for (let first = 0; first < pages; first += run) {
      placer.zero(memory.address + first * PAGE, run * PAGE);
    }
  };
}

function touch({ memory, pages }: Arena): void {
  const to = memory.bytes();
  for (let page = 0; page < pages; page++) to[page * PAGE] = 0;
}

function touchAndContinue(run: number): (arena: Arena) => void {
  return ({ memory, alias, placer, pages }) => {
    const to = alias.bytes();
    for (let first = 0; first < pages; first += run) {
      for (let page = first; page < first + run; page++) to[page * PAGE] = 0;
      placer.continue(memory.address + first * PAGE, run * PAGE);
    }
  };
}

const private_ = { backing: "anonymous", registered: true } as const;
const shared = { backing: "memfd", registered: true } as const;

/** The ways, the reference of each kind of memory first. */
export const WAYS: readonly Way[] = [
  { ...private_, name: "plain copy, kernel fault a page", registered: false, fill: write },
  { ...private_, name: "UFFDIO_COPY by page", fill: copyEach },
  { ...private_, name: "gather, UFFDIO_COPY by 16", fill: gatherAndCopy(16) },
  { ...private_, name: "gather, UFFDIO_COPY by 64", fill: gatherAndCopy(64) },
  { ...shared, name: "plain copy, kernel fault a page", registered: false, fill: write },
  { ...shared, name: "UFFDIO_COPY by page", fill: copyEach },
  { ...shared, name: "gather, UFFDIO_COPY by 16", fill: gatherAndCopy(16) },
  { ...shared, name: "gather, UFFDIO_COPY by 64", fill: gatherAndCopy(64) },
  { ...shared, name: "copy to alias, UFFDIO_CONTINUE by page", fill: writeAndContinue(1) },
  { ...shared, name: "copy to alias, UFFDIO_CONTINUE by 64", fill: writeAndContinue(64) },
  { ...shared, name: "copy to alias, UFFDIO_CONTINUE by 512", fill: writeAndContinue(512) },
];

/** Ways to place zero pages, likewise. */
export const ZERO_WAYS: readonly Way[] = [
  { ...private_, name: "touch, kernel fault a page", registered: false, fill: touch },
  { ...private_, name: "UFFDIO_ZEROPAGE by page", fill: zero(1) },
  { ...private_, name: "UFFDIO_ZEROPAGE by 64", fill: zero(64) },
  { ...shared, name: "touch, kernel fault a page", registered: false, fill: touch },
  { ...shared, name: "UFFDIO_ZEROPAGE by page", fill: zero(1) },
  { ...shared, name: "UFFDIO_ZEROPAGE by 64", fill: zero(64) },
  { ...shared, name: "touch alias, UFFDIO_CONTINUE by 64", fill: touchAndContinue(64) },
];
