/** Which memory is at hand. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { hostPageSize, MappedMemory } from "../../ffi/memory.ts";
import { Residency } from "../../ffi/residency.ts";
import { until } from "../support/deadline.ts";

/** Memory of which no page exists. */
function untouched(pages: number): MappedMemory {
  const memory = MappedMemory.anonymous(pages * hostPageSize());
  memory.adviseSmallPages();
  return memory;
}

Deno.test("Residency tells whether all host pages of all ranges are at hand", () => {
  const size = hostPageSize();
  using memory = untouched(3000);
  const bytes = memory.bytes();
  for (const page of [0, 1, 2, 7, 2000, 2001]) bytes[page * size] = 1;
  const residency = new Residency();
  const look = (...ranges: readonly (readonly [start: number, length: number])[]) => {
    residency.clear();
    for (const [start, length] of ranges) residency.add(memory.address + start, length);
    return residency.resident;
  };
  assert(look());
  assert(look([0, size], [size, size], [2 * size, 1]));
  assert(look([3 * size - 1, 1]));
  assert(!look([3 * size - 1, 2])); // into the next page
  assert(look([7 * size, size], [0, 1], [2000 * size + 8, size]));
  assert(!look([7 * size, size], [0, 1], [2000 * size + 8, 2 * size]));
  assert(!look([0, size], [0, 4 * size], [0, size]));
  // Ranges of more pages than one call is asked about.
  bytes.fill(1, 0, 2999 * size);
  const each = Array.from({ length: 3000 }, (_, page) => [page * size, size] as const);
  assert(look(...each.slice(0, -1)));
  assert(!look(...each));
});

Deno.test("Residency takes ranges until it is full, and then forgets them", () => {
  const size = hostPageSize();
  using memory = untouched(2048);
  const residency = new Residency();
  let count = 0;
  for (; !residency.full; count++) residency.add(memory.address + count * 2 * size, size);
  assert(count > 128, `Ranges: ${count}`);
  assert(!residency.resident);
  residency.clear();
  assert(residency.resident && !residency.full);
});

Deno.test("Residency has another thread read what is not at hand", async () => {
  using memory = untouched(8);
  const residency = new Residency();
  residency.add(memory.address, 8 * hostPageSize());
  residency.request(); // means nothing to memory without a file
  assert(!residency.resident);
  residency.load();
  await until("the pages to be there", () => residency.resident);
  assertEquals(memory.bytes(), new Uint8Array(memory.length));
});
