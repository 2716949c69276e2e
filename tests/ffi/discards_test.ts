import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Discards } from "../../ffi/discards.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { RegisterMode, UffdFeature, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";

const PAGES = 5000; // more ranges than one call takes

Deno.test("Discards drops every range of private memory, and nothing beside it", () => {
  using memory = MappedMemory.anonymous(PAGES * 4096);
  const bytes = memory.bytes();
  for (let page = 0; page < PAGES; page++) bytes[page * 4096] = 7;
  const discards = new Discards();
  discards.apply();
  assertEquals(discards.pending, false);
  for (let page = 0; page < PAGES; page += 2) discards.add(memory.address + page * 4096, 4096);
  assertEquals(discards.pending, true);
  discards.apply();
  assertEquals(discards.pending, false);
  for (let page = 0; page < PAGES; page++) assertEquals(bytes[page * 4096], page % 2 === 0 ? 0 : 7);
});

Deno.test("Discards unmaps pages of a memfd and leaves them in the page cache", () => {
  using memory = MappedMemory.memfd(8 * 4096, "discards");
  memory.bytes().fill(7);
  using uffd = new Userfaultfd({ features: UffdFeature.MISSING_SHMEM | UffdFeature.MINOR_SHMEM });
  uffd.register(memory.address, memory.length, RegisterMode.MISSING | RegisterMode.MINOR);
  const discards = new Discards();
  discards.add(memory.address, 4096);
  discards.add(memory.address + 3 * 4096, 4096);
  discards.apply();
  const placer = new PagePlacer(uffd.fd);
  const outcomes = [0, 1, 2, 3].map((page) => placer.continue(memory.address + page * 4096, 4096));
  const { PLACED, PRESENT } = Placement;
  assertEquals(outcomes, [PLACED, PRESENT, PRESENT, PLACED]);
  assertEquals(memory.bytes().every((byte) => byte === 7), true);
});
