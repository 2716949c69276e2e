/** Connections that have not said what they are for, or of which the other half has yet to come. */

import { descriptorLimit } from "../../ffi/descriptor_limit.ts";
import type { Accepted } from "./accepted.ts";

const MOST = 128;
/** However few descriptors there are. */
const LEAST = 8;
/** Part of the descriptors of this process that is left to them. */
const DESCRIPTOR_SHARE = 8;

/** Keeps no more than there may be: a host that floods pushes out its own. */
export class Strangers {
  readonly #most: number;
  readonly #all = new Set<Accepted>();

  /** @param most how many there may be */
  constructor(
    most: number = Math.max(
      LEAST,
      Math.min(MOST, Math.floor(descriptorLimit() / DESCRIPTOR_SHARE)),
    ),
  ) {
    this.#most = most;
  }

  /** How many there are. */
  get count(): number {
    return this.#all.size;
  }

  /** Adds one; where they are too many, the oldest goes of the host that has most. */
  add(accepted: Accepted): void {
    this.#all.add(accepted);
    if (this.#all.size <= this.#most) return;
    const counts = new Map<string, number>();
    for (const { host } of this.#all) counts.set(host, (counts.get(host) ?? 0) + 1);
    const [most] = [...counts].reduce((one, other) => other[1] > one[1] ? other : one);
    const oldest = [...this.#all].find(({ host }) => host === most)!;
    this.delete(oldest);
    oldest.drop();
  }

  /** It is one no more: known, or gone. */
  delete(accepted: Accepted): void {
    this.#all.delete(accepted);
  }

  /** Has all go. */
  drop(): void {
    for (const accepted of this.#all) accepted.drop();
    this.#all.clear();
  }
}
