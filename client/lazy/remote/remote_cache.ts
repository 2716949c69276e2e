/** The pages of a remote image that are here: one copy in memory, for all processes that are served from it. */

import { MappedMemory, physicalMemory } from "../../../ffi/memory.ts";
import { PageBitmap } from "../../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../../migration/memory/ram_layout.ts";
import { MigrationError } from "../../../migration/migration_error.ts";
import type { StreamMachine } from "../../../migration/protocol/stream_machine.ts";
import { type MemoryPages, spansOf } from "../memory_pages.ts";
import { BASE_PAGE } from "../region.ts";

/** Pages of which one bit says that some are wanted. */
const GROUP = 1024;

/** A cache in plain data, for `postMessage`; its memory is the control plane's. */
export interface RemoteCacheInit {
  readonly machine: StreamMachine;
  /** The memfd. */
  readonly fd: number;
  /** Where it is mapped, page by page of the layout. */
  readonly address: number;
  readonly length: number;
  /** Bitmaps by page number: what is here, what of it is not zero, and what somebody waits for. */
  readonly received: SharedArrayBuffer;
  readonly content: SharedArrayBuffer;
  readonly wanted: SharedArrayBuffer;
  /** A bit for each group of pages of which some may be newly wanted. */
  readonly groups: SharedArrayBuffer;
  /** Page numbers in the order in which they came. */
  readonly list: SharedArrayBuffer;
}

/**
 * Makes the memory for a machine's pages.
 *
 * @throws {MigrationError} `UNSUPPORTED` for pages that are not of 4 KiB, `TOO_LARGE`
 * @throws {RamLayoutError} when the blocks cannot be
 * @throws {SyscallError} when there is no memory
 */
export function makeRemoteCache(machine: StreamMachine): RemoteCacheInit {
  const layout = layoutOf(machine);
  const length = layout.pageLimit * BASE_PAGE;
  if (length > 2 * physicalMemory()) {
    throw new MigrationError(
      "TOO_LARGE",
      `Image of ${length} bytes, far more than this host's memory: serve it where more is`,
    );
  }
  const memory = MappedMemory.memfd(length, "postcopy-remote-image");
  memory.release(); // the control plane adopts it
  const bitmap = () => new SharedArrayBuffer(layout.pageLimit / 8);
  return {
    machine,
    fd: memory.fd,
    address: memory.address,
    length,
    received: bitmap(),
    content: bitmap(),
    wanted: bitmap(),
    groups: new SharedArrayBuffer(groupCount(layout.pageLimit) / 8),
    list: new SharedArrayBuffer(layout.pageCount * 4),
  };
}

/** The memory that the cache holds, as far as it has come. */
export function remotePages({ machine, address, length, content }: RemoteCacheInit): MemoryPages {
  const layout = layoutOf(machine);
  return {
    pages: {
      kind: "mapped-ram",
      imageAddress: address,
      imageLength: length,
      present: content,
      runs: layout.blocks.map(({ firstPage }) => ({
        firstPage,
        pagesOffset: firstPage * BASE_PAGE,
      })),
      pageSize: BASE_PAGE,
    },
    ...spansOf(layout),
  };
}

/** A thread's own view of a cache. */
export class RemoteCache {
  readonly layout: RamLayout;
  /** Pages that are here. */
  readonly received: PageBitmap;
  /** Those of them that are not zero. */
  readonly content: PageBitmap;
  /** Pages that came, in their order; `RemoteState.arrived` says how many. */
  readonly list: Int32Array;
  readonly #wanted: PageBitmap;
  readonly #groups: PageBitmap;

  constructor(init: RemoteCacheInit) {
    this.layout = layoutOf(init.machine);
    const { pageLimit } = this.layout;
    this.received = new PageBitmap(pageLimit, init.received);
    this.content = new PageBitmap(pageLimit, init.content);
    this.list = new Int32Array(init.list);
    this.#wanted = new PageBitmap(pageLimit, init.wanted);
    this.#groups = new PageBitmap(groupCount(pageLimit), init.groups);
  }

  /**
   * Session: somebody waits for a page.
   *
   * @returns whether the receiver is to be woken: nobody else has
   */
  want(page: number): boolean {
    if (!this.#wanted.add(page)) return false;
    return this.#groups.add(Math.floor(page / GROUP));
  }

  /** Receiver: all that was ever wanted is to be looked at again: a new server knows nothing of it. */
  wantAgain(): void {
    this.#groups.fill(0, this.#groups.length);
  }

  /** Receiver: takes a group of which some are newly wanted; -1 when there is none. */
  takeGroup(): number {
    const group = this.#groups.next(0);
    if (group >= 0) this.#groups.take(group); // before its pages are looked at: what comes meanwhile sets it again
    return group;
  }

  /** Receiver: the group is to be looked at once more. */
  putBack(group: number): void {
    this.#groups.add(group);
  }

  /** Receiver: the first page of a group, from one on, that somebody waits for and that is not here; or -1. */
  nextWanted(group: number, from = group * GROUP): number {
    const end = Math.min((group + 1) * GROUP, this.layout.pageLimit);
    for (let page = from; page < end; page++) {
      page = this.#wanted.next(page, end);
      if (page < 0) return -1;
      if (!this.received.has(page)) return page;
    }
    return -1;
  }
}

function groupCount(pageLimit: number): number {
  return Math.ceil(pageLimit / GROUP / 32) * 32;
}

function layoutOf({ blocks, targetPageSize }: StreamMachine): RamLayout {
  if (targetPageSize !== BASE_PAGE) {
    throw new MigrationError(
      "UNSUPPORTED",
      `Pages that are not of ${BASE_PAGE} bytes: ${targetPageSize}: serve this image to a QEMU instead`,
    );
  }
  // Of whatever pages it lay in: here it lies in small ones.
  return new RamLayout(blocks.map(({ name, usedLength }) => ({ name, usedLength })), BASE_PAGE);
}
