/** What a process or kernel thread that serves queues knows of guest memory. */

import type { FlatRange } from "../../migration/address_space/flat_view.ts";
import type { MemoryListener } from "../../migration/address_space/memory_listener.ts";

/** A run of guest memory, as VHOST_SET_MEM_TABLE has it. */
export interface VhostRegion {
  /** Guest address of its first byte. */
  readonly start: number;
  /** Bytes. */
  length: number;
  /** RAM block that it lies in. */
  readonly block: string;
  /** Where in the block, in bytes. */
  readonly offset: number;
}

/**
 * The memory table of a vhost backend. It is put together again in each commit, from all ranges, and
 * handed to the backend when it is another: the cost of a commit grows with backends times ranges, as
 * in QEMU, where every pair of queues of a network device has a backend of its own.
 */
export class VhostBackend implements MemoryListener {
  /** For messages. */
  readonly name: string;
  #table: readonly VhostRegion[] = [];
  #next: VhostRegion[] = [];
  #updates = 0;

  /** @param name whose it is */
  constructor(name: string) {
    this.name = name;
  }

  /** What the backend was told last. */
  get table(): readonly VhostRegion[] {
    return this.#table;
  }

  /** Times that it was told. */
  get updates(): number {
    return this.#updates;
  }

  /** Begins a table. */
  begin(): void {
    this.#next = [];
  }

  /** Puts RAM in the table. */
  regionAdd(range: FlatRange): void {
    this.#take(range);
  }

  /** Puts RAM in the table. */
  regionNop(range: FlatRange): void {
    this.#take(range);
  }

  /** Tells the backend when the table is another. */
  commit(): void {
    const next = this.#next;
    this.#next = [];
    if (equalTables(next, this.#table)) return;
    this.#table = next;
    this.#updates++;
  }

  #take({ start, length, region, offset }: FlatRange): void {
    const { block } = region;
    if (block === undefined) return;
    const inBlock = region.blockOffset + offset;
    const last = this.#next.at(-1);
    // Ranges come in the order of addresses.
    const continues = last !== undefined && last.block === block &&
      last.start + last.length === start && last.offset + last.length === inBlock;
    if (continues) last.length += length;
    else this.#next.push({ start, length, block, offset: inBlock });
  }
}

function equalTables(a: readonly VhostRegion[], b: readonly VhostRegion[]): boolean {
  return a.length === b.length && a.every((one, index) => {
    const other = b[index]!;
    return one.start === other.start && one.length === other.length &&
      one.block === other.block && one.offset === other.offset;
  });
}
