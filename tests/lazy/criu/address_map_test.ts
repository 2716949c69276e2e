import { assert, assertEquals } from "@std/assert";
import { AddressMap } from "../../../client/lazy/criu/address_map.ts";
import { Random } from "../../support/random.ts";

const PAGE = 4096;
const at = (page: number): number => page * PAGE;

/** Pages by address, as a map says it. */
function pagesOf(map: AddressMap): Map<number, number> {
  const found = new Map<number, number>();
  for (const { address, pages, firstPage } of map.segments) {
    for (let index = 0; index < pages; index++) {
      assert(!found.has(address + index * PAGE), "two segments overlap");
      found.set(address + index * PAGE, firstPage + index);
    }
  }
  return found;
}

function newMap(...segments: [address: number, pages: number, firstPage: number][]): AddressMap {
  return new AddressMap(segments.map(([address, pages, firstPage]) => ({
    address: at(address),
    pages,
    firstPage,
  })));
}

const everythingIs = (mapped: boolean | undefined) => () => mapped;

Deno.test("AddressMap knows where each page is while ranges at random are moved and removed", () => {
  const random = new Random(7);
  const map = newMap([0, 64, 0], [100, 64, 64]);
  const model = pagesOf(map);
  for (let step = 0; step < 3000; step++) {
    const from = random.below(200);
    const count = 1 + random.below(20);
    const to = random.below(200);
    const take = () => {
      const taken: [number, number][] = [];
      for (let page = from; page < from + count; page++) {
        const shown = model.get(at(page));
        if (shown === undefined) continue;
        taken.push([page, shown]);
        model.delete(at(page));
      }
      return taken;
    };
    const apart = to + count <= from || from + count <= to;
    const deed = random.below(3);
    if (deed === 0) {
      map.remove(at(from), at(from + count));
      take();
    } else if (deed === 1) {
      map.unmap(at(from), at(from + count));
      take();
    } else if (apart) {
      // The kernel unmaps the target first.
      map.unmap(at(to), at(to + count));
      map.move(at(from), at(to), count * PAGE);
      const taken = take();
      for (let page = to; page < to + count; page++) model.delete(at(page));
      for (const [page, shown] of taken) model.set(at(page - from + to), shown);
    }
    assert(map.settle(everythingIs(false)));
    assertEquals(pagesOf(map), model);
    for (const [address, page] of model) {
      assertEquals([map.pageAt(address), map.addressOf(page)], [page, address]);
    }
  }
});

Deno.test("AddressMap keeps what was moved to where another thread says too late that it had unmapped", () => {
  const map = newMap([0, 4, 0], [10, 4, 4]);
  // One thread moves 0 to 20; behind that another moves 10 to 0, and says so before the first says UNMAP.
  map.move(at(0), at(20), at(4));
  map.move(at(10), at(0), at(4));
  map.unmap(at(0), at(4));
  assert(!map.settled);
  assert(!map.settle(everythingIs(undefined)), "it is sure while messages are on their way");
  assertEquals(map.pageAt(at(1)), 5);
  assert(map.settle(everythingIs(true)));
  assertEquals([map.pageAt(at(1)), map.pageAt(at(21)), map.pageAt(at(11))], [5, 1, -1]);
});

Deno.test("AddressMap forgets what was moved, and unmapped there by whoever says so last", () => {
  const map = newMap([0, 4, 0]);
  map.move(at(0), at(20), at(4));
  map.unmap(at(20), at(23));
  assert(map.settle((address, pages) => address >= at(23) ? pages === 1 : false));
  assertEquals([map.pageAt(at(20)), map.pageAt(at(22)), map.pageAt(at(23))], [-1, -1, 3]);
});

Deno.test("AddressMap gives each thread its own pages where one takes the other's place, and says so first", () => {
  const map = newMap([0, 4, 0], [10, 4, 4]);
  map.move(at(10), at(0), at(4)); // 0 is free already, and nobody has said so
  map.move(at(0), at(20), at(4));
  map.unmap(at(0), at(4));
  map.unmap(at(10), at(14));
  assert(map.settle((address) => address < at(4) || address >= at(20)));
  assertEquals(pagesOf(map), pagesOf(newMap([0, 4, 4], [20, 4, 0])));
});

Deno.test("AddressMap lets what is moved over other memory take its place", () => {
  const map = newMap([0, 4, 0], [10, 4, 4]);
  map.unmap(at(10), at(14)); // the kernel's first message of mremap with a fixed target
  map.move(at(0), at(10), at(4));
  map.unmap(at(0), at(4));
  assert(map.settle((address) => address >= at(10)));
  assertEquals(pagesOf(map), pagesOf(newMap([10, 4, 0])));
});

Deno.test("AddressMap keeps a page that is unmapped, moved over and moved on at once", () => {
  const map = newMap([0, 4, 0], [10, 4, 4]);
  map.move(at(0), at(20), at(4));
  map.unmap(at(0), at(4));
  map.unmap(at(20), at(24)); // and something else comes there
  map.move(at(10), at(20), at(4));
  map.unmap(at(10), at(14));
  map.move(at(20), at(30), at(4));
  map.unmap(at(20), at(24));
  assert(map.settle((address) => address >= at(30)));
  assertEquals(pagesOf(map), pagesOf(newMap([30, 4, 4])));
});
