/** The pages that a server sends, on their way into the cache. */

import { Errno, SyscallError } from "../../../ffi/errno.ts";
import { Gather, MAX_PIECES } from "../../../ffi/gather.ts";
import type { RamBlock } from "../../../migration/memory/ram_layout.ts";
import { MigrationError } from "../../../migration/migration_error.ts";
import type { AbsentPagesCommand } from "../../../migration/protocol/command.ts";
import type { StreamMachine } from "../../../migration/protocol/stream_machine.ts";
import { takeAbsentRuns } from "../../incoming/absent_pages.ts";
import type { IncomingPages } from "../../incoming/incoming_memory.ts";
import { blockIndex, pageNumber } from "../../incoming/page_number.ts";
import { BASE_PAGE } from "../region.ts";
import { RemoteCache, type RemoteCacheInit } from "./remote_cache.ts";
import { RemoteCounter, type RemoteState } from "./remote_state.ts";

/**
 * Writes pages into the cache's memfd, those that follow one another by one call, and then says that they are
 * here. A write takes a page without the fault and the clearing that a first touch costs.
 */
export class RemotePages implements IncomingPages {
  readonly held = false;
  readonly #state: RemoteState;
  readonly #make: (machine: StreamMachine) => RemoteCacheInit;
  readonly #run = new Gather(MAX_PIECES);
  /** Pages that were gathered or are zero, in their order: ~ of the number of one that is zero. */
  readonly #pending = new Int32Array(MAX_PIECES);
  #pendingCount = 0;
  #runStart = 0;
  #runEnd = -1;
  #cache: RemoteCache | undefined;
  #fd = -1;
  #block: RamBlock | undefined;
  #index = -1;

  /**
   * @param state gets the figures, and wakes who waits
   * @param make gives the cache of a machine, once it is known
   */
  constructor(state: RemoteState, make: (machine: StreamMachine) => RemoteCacheInit) {
    this.#state = state;
    this.#make = make;
  }

  /** The cache; undefined before the blocks are known. */
  get cache(): RemoteCache | undefined {
    return this.#cache;
  }

  /** Index of the block that the pages which follow are of; -1 for none. Each channel has its own. */
  get selected(): number {
    return this.#index;
  }

  set selected(index: number) {
    this.#index = index;
    this.#block = this.#cache?.layout.blocks[index];
  }

  get whole(): boolean {
    const count = this.#cache?.layout.pageCount ?? Infinity;
    return this.#state.get(RemoteCounter.RECEIVED) === count;
  }

  open(machine: StreamMachine): void {
    this.adopt(this.#make(machine));
  }

  /** Goes on with a cache in which pages are already. */
  adopt(init: RemoteCacheInit): void {
    this.#cache = new RemoteCache(init);
    this.#fd = init.fd;
  }

  select(name: string): void {
    if (this.#block?.name === name) return;
    this.selected = blockIndex(this.#opened.layout.blocks, name);
  }

  page(offset: number, _bytes: Uint8Array, _at: number, address: number): void {
    const page = pageNumber(this.#block, offset, BASE_PAGE);
    if (this.#opened.received.has(page)) return; // processes may have read it
    const to = page * BASE_PAGE;
    if (to !== this.#runEnd || this.#pendingCount === this.#pending.length) {
      this.flush();
      this.#runStart = to;
    }
    this.#run.add(address, BASE_PAGE);
    this.#runEnd = to + BASE_PAGE;
    this.#pending[this.#pendingCount++] = page;
  }

  zeroPage(offset: number): void {
    const page = pageNumber(this.#block, offset, BASE_PAGE);
    if (this.#pendingCount === this.#pending.length) this.flush();
    this.#pending[this.#pendingCount++] = ~page;
  }

  flush(): void {
    if (this.#pendingCount === 0) return;
    this.#write();
    const { received, content, list } = this.#cache!;
    let { arrived } = this.#state;
    for (let index = 0; index < this.#pendingCount; index++) {
      const entry = this.#pending[index]!;
      const page = entry < 0 ? ~entry : entry;
      if (entry >= 0) content.add(page); // before it counts as here
      if (!received.add(page)) continue;
      list[arrived++] = page;
      this.#state.add(RemoteCounter.RECEIVED, 1);
    }
    this.#pendingCount = 0;
    this.#state.setArrived(arrived);
    this.#tell();
  }

  /** What is here is the image's, and stays. */
  discard(): void {}

  absent(command: AbsentPagesCommand): void {
    const { layout, received } = this.#opened;
    takeAbsentRuns(layout, command, (first, count) => {
      this.#state.add(RemoteCounter.RECEIVED, received.fill(first, count));
    });
    this.#tell();
  }

  listen(): void {}

  restart(): void {
    this.flush();
    this.selected = -1;
  }

  settled(): boolean {
    return true;
  }

  settle(then: () => void): void {
    then();
  }

  resume(): boolean {
    return true;
  }

  compressedBy(): void {}

  compressedPage(): void {
    throw unsupported("compressed page");
  }

  xbzrlePage(): void {
    throw unsupported("XBZRLE page");
  }

  get #opened(): RemoteCache {
    if (this.#cache === undefined) {
      throw new MigrationError("BAD_PEER", "Page before the list of RAM blocks");
    }
    return this.#cache;
  }

  #write(): void {
    const run = this.#run;
    let to = this.#runStart;
    while (!run.empty) {
      const written = run.writeTo(this.#fd, to);
      if (written >= 0) to += written;
      else if (written !== -Errno.EINTR) {
        throw new SyscallError("pwritev", -written, "a copy of the image in memory");
      }
    }
    run.clear();
    this.#runEnd = -1;
  }

  /** Tells whoever waits that more is here. */
  #tell(): void {
    if (this.whole) this.#state.setComplete();
    this.#state.wake();
  }
}

function unsupported(what: string): MigrationError {
  return new MigrationError("UNSUPPORTED", `Server sent what is not asked of it: ${what}`);
}
