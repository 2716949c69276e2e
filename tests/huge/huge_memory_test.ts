import "../support/native.ts";
import { assert, assertEquals, assertInstanceOf, assertMatch, assertThrows } from "@std/assert";
import { SyscallError } from "../../ffi/errno.ts";
import { hugePageRemedy, hugePages } from "../../ffi/huge_pages.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { testUnless } from "../support/skip.ts";
import { availableHugePages, GrantedHugePages, needsHugePages } from "./granted_pages.ts";
import { HUGE } from "./huge_pages.ts";

testUnless(needsHugePages(4), "MappedMemory.memfd maps huge pages and gives them back", () => {
  using _granted = new GrantedHugePages(4);
  const before = availableHugePages();
  {
    using memory = MappedMemory.memfd(2 * HUGE, "test", { pageSize: HUGE });
    assertEquals(memory.address % HUGE, 0);
    assertEquals(availableHugePages(), before - 2);
    const bytes = memory.bytes();
    bytes[0] = 1;
    bytes[2 * HUGE - 1] = 2;
    using other = MappedMemory.alias(memory.fd, 2 * HUGE);
    assertEquals([other.bytes()[0], other.bytes()[2 * HUGE - 1]], [1, 2]);
    assertEquals(availableHugePages(), before - 2);
  }
  assertEquals(availableHugePages(), before);
});

testUnless(
  needsHugePages(4),
  "MappedMemory.memfd says how many huge pages there are when they do not suffice",
  () => {
    using _granted = new GrantedHugePages(4);
    const available = availableHugePages();
    const { total } = hugePages(HUGE)!;
    const error = assertThrows(() =>
      MappedMemory.memfd((available + 3) * HUGE, "test", { pageSize: HUGE })
    );
    assertInstanceOf(error, SyscallError);
    assertEquals(error.code, "ENOMEM");
    assertMatch(
      error.message,
      new RegExp(
        `${available + 3} huge pages of 2 MiB are needed, ${available} of ${total} are free: ` +
          `sysctl vm.nr_hugepages=${total + 3}$`,
      ),
    );
    assertEquals(availableHugePages(), available);
  },
);

Deno.test("hugePageRemedy names a size that this kernel does not have", () => {
  assertEquals(hugePages(3 * HUGE), undefined);
  assertEquals(hugePageRemedy(HUGE, 3 * HUGE), "this kernel has no huge pages of 6 MiB");
  assertThrows(
    () => MappedMemory.memfd(2 ** 23, "test", { pageSize: 2 ** 23 }),
    SyscallError,
    "this kernel has no huge pages of 8 MiB",
  );
});

Deno.test("MappedMemory.memfd takes the base page as the page size", () => {
  using memory = MappedMemory.memfd(8192, "test", { pageSize: 4096 });
  memory.bytes()[8191] = 1;
  assert(memory.fd >= 0);
});
