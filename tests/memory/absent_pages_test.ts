/** Pages that the source does not hold, of blocks with host pages of several sizes. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { AbsentPages } from "../../client/faults/absent_pages.ts";
import { BlockMap } from "../../client/placing/block_map.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { PagePlacer } from "../../ffi/page_placer.ts";
import { RegisterMode, registerRange, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";

const PAGE = 4096;
/** Bytes of the host pages of two blocks: to the placing of zeros they are what 2 MiB and 1 GiB are. */
const SIZES = [2 * PAGE, 64 * PAGE];
/** Pieces of memory with something in it, in the gaps between others and behind each other. */
const PIECES = 1000;

Deno.test(
  "AbsentPages places nothing but zeros, whichever of several sizes of host pages is touched first",
  leavingNoDescriptors(() => {
    for (const order of [[0, 1], [1, 0]]) {
      using stack = new DisposableStack();
      const uffd = stack.use(new Userfaultfd());
      const memories = SIZES.map((length) => stack.use(MappedMemory.anonymous(length)));
      const blocks = memories.map(({ address, length, fd }, index) => {
        registerRange(uffd.fd, address, length, RegisterMode.MISSING);
        return { name: `block ${index}`, address, length, fd, pageSize: SIZES[index]! };
      });
      const aliases = memories.map(({ address }) => address);
      const map = new BlockMap({ blocks, targetPageSize: PAGE, shared: false, aliases });
      const absent = new PageBitmap(map.layout.pageLimit).buffer;
      const pages = stack.use(new AbsentPages(map, new PagePlacer(uffd.fd), absent));
      // Once no gap is left, what is mapped last lies right above what is mapped next.
      for (let piece = 0; piece < PIECES; piece++) {
        stack.use(MappedMemory.anonymous(SIZES[0]!)).bytes().fill(0xff);
      }
      for (const index of order) pages.place(index, 0, SIZES[index]!);
      for (const memory of memories) {
        assertEquals(memory.bytes(), new Uint8Array(memory.length));
      }
    }
    return Promise.resolve();
  }),
);
