import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../migration/command/arguments.ts";
import { pageSizeSummary } from "../../migration/memory/page_sizes.ts";
import { hugePagesArgument } from "../../server/command/huge_pages_argument.ts";
import { GIGANTIC, HUGE } from "./huge_pages.ts";

const read = (text: string | undefined) => [...hugePagesArgument(text)];

Deno.test("hugePagesArgument takes blocks of 2 MiB unless another size is said", () => {
  assertEquals(read(undefined), []);
  assertEquals(read("pc.ram"), [[HUGE, ["pc.ram"]]]);
  assertEquals(read("mem0=1G,mem1,mem2=2m,mem3=1g"), [
    [GIGANTIC, ["mem0", "mem3"]],
    [HUGE, ["mem1", "mem2"]],
  ]);
});

Deno.test("hugePagesArgument takes what is no size for a part of the name", () => {
  assertEquals(read("/objects/a=b"), [[HUGE, ["/objects/a=b"]]]);
  assertEquals(read("a=b=1G"), [[GIGANTIC, ["a=b"]]]);
});

Deno.test("hugePagesArgument refuses a block without a name, and one that is named twice", () => {
  for (const text of ["", "a,", "=1G"]) {
    assertThrows(
      () => read(text),
      UsageError,
      `No name of a RAM block after --huge-pages: ${text}`,
    );
  }
  assertThrows(() => read("a=1G,a"), UsageError, "RAM block is named twice");
});

Deno.test("pageSizeSummary has each size once, also beyond 32 bits", () => {
  const blocks = [{ pageSize: GIGANTIC }, {}, { pageSize: GIGANTIC }, { pageSize: 2 ** 34 }];
  assertEquals(pageSizeSummary(blocks, 4096), 4096 + 2 ** 30 + 2 ** 34);
  assertEquals(pageSizeSummary([{}, {}], 4096), 4096);
});
