/** Memory that pages are placed in, and a piece of a stream that holds them. */

import { type Backing, MappedMemory } from "../../ffi/memory.ts";
import { PagePlacer } from "../../ffi/page_placer.ts";
import { RegisterMode, UffdFeature, Userfaultfd } from "../../ffi/userfaultfd.ts";

/** Bytes of a page. */
export const PAGE = 4096;
/** Bytes of a page's record in a stream: its header and the page. */
export const RECORD = PAGE + 8;
/** Bytes taken from a socket at a time, as the destination does. */
export const PIECE = 512 * 1024;
/** Whole records in a piece. */
export const PIECE_PAGES: number = Math.floor(PIECE / RECORD);
/** Most pages gathered for one call. */
export const MOST_PAGES = 512;

/** Missing memory, and all that a way of placing may use. */
export class Arena implements Disposable {
  /** Where the pages go. */
  readonly memory: MappedMemory;
  /** The second mapping of a memfd; the first itself where the memory is private. */
  readonly alias: MappedMemory;
  /** Their number. */
  readonly pages: number;
  /** Places pages where the memory is registered. */
  readonly placer: PagePlacer;
  /** A piece of a stream, warm. */
  readonly piece: MappedMemory = MappedMemory.anonymous(PIECE);
  /** Room to gather pages in, warm. */
  readonly batch: MappedMemory = MappedMemory.anonymous(MOST_PAGES * PAGE);
  readonly #stack = new DisposableStack();

  /** @param registered whether the memory's faults are taken */
  constructor(backing: Backing, pages: number, registered: boolean) {
    this.pages = pages;
    const length = pages * PAGE;
    const shared = backing === "memfd";
    const uffd = this.#stack.use(
      new Userfaultfd({
        features: shared ? UffdFeature.MISSING_SHMEM | UffdFeature.MINOR_SHMEM : 0n,
      }),
    );
    this.memory = this.#stack.use(
      shared ? MappedMemory.memfd(length, "placement") : MappedMemory.anonymous(length),
    );
    this.alias = shared ? this.#stack.use(MappedMemory.alias(this.memory.fd, length)) : this.memory;
    this.memory.adviseSmallPages();
    this.alias.adviseSmallPages();
    const mode = RegisterMode.MISSING | (shared ? RegisterMode.MINOR : 0n);
    if (registered) uffd.register(this.memory.address, length, mode);
    this.placer = new PagePlacer(uffd.fd);
    this.#stack.use(this.piece).populate();
    this.#stack.use(this.batch).populate();
    this.piece.bytes().fill(0xa5);
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
