/** The orders in which a thread touches pages. */

import type { AccessPattern } from "./options.ts";

/** Pages in some order. */
export interface PageOrder {
  /** Returns the next page, or -1 at the end of an order that has one. */
  next(): number;
}

/** Pages `first`, `first + stride`, ... `count` of them. */
export interface PageSet {
  /** The lowest page. */
  readonly first: number;
  /** Distance to the next. */
  readonly stride: number;
  /** How many there are, at least one. */
  readonly count: number;
}

/**
 * Returns the pages of one of several threads.
 *
 * @param pages how many there are in all
 * @param own true to give each thread pages of its own, false to give every thread all of them
 */
export function threadPages(pages: number, thread: number, threads: number, own: boolean): PageSet {
  if (!own) return { first: 0, stride: 1, count: pages };
  return { first: thread, stride: threads, count: Math.ceil((pages - thread) / threads) };
}

/** Pseudo-random 32-bit numbers (Marsaglia's xorshift32). */
export class RandomNumbers {
  #state: number;

  /** @param seed any number; equal seeds give equal numbers */
  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e37_79b1) | 1;
  }

  /** Returns a number from 0 to below `limit`, which is at most 2^32. */
  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return Math.floor((x >>> 0) / 0x1_0000_0000 * limit);
  }
}

/**
 * Makes the order in which a thread touches its pages.
 *
 * @param startAt where a sequential walk begins, as a share (0 to below 1) of the set
 */
export function makePageOrder(
  pattern: AccessPattern,
  set: PageSet,
  random: RandomNumbers,
  startAt: number,
): PageOrder {
  switch (pattern) {
    case "random":
      return new RandomOrder(set, random);
    case "sequential":
      return new SequentialOrder(set, Math.floor(startAt * set.count));
    case "once":
      return new ShuffledOrder(set, random);
  }
}

class RandomOrder implements PageOrder {
  readonly #set: PageSet;
  readonly #random: RandomNumbers;

  constructor(set: PageSet, random: RandomNumbers) {
    this.#set = set;
    this.#random = random;
  }

  next(): number {
    const set = this.#set;
    return set.first + set.stride * this.#random.below(set.count);
  }
}

class SequentialOrder implements PageOrder {
  readonly #set: PageSet;
  #index: number;

  constructor(set: PageSet, index: number) {
    this.#set = set;
    this.#index = index;
  }

  next(): number {
    const set = this.#set;
    const page = set.first + set.stride * this.#index;
    if (++this.#index === set.count) this.#index = 0;
    return page;
  }
}

class ShuffledOrder implements PageOrder {
  readonly #pages: Uint32Array;
  #index = 0;

  constructor({ first, stride, count }: PageSet, random: RandomNumbers) {
    const pages = new Uint32Array(count);
    // Fisher and Yates, inside out.
    for (let index = 0; index < count; index++) {
      const other = random.below(index + 1);
      pages[index] = pages[other]!;
      pages[other] = first + stride * index;
    }
    this.#pages = pages;
  }

  next(): number {
    return this.#index < this.#pages.length ? this.#pages[this.#index++]! : -1;
  }
}
