import { assert, assertEquals, assertRejects } from "@std/assert";
import { testFiles } from "../../tools/test_files.ts";
import { allParts, inLanes, PARTS, partsOf } from "../../tools/test_parts.ts";

Deno.test("PARTS are directories that exist, each once", async () => {
  const directories = PARTS.flat();
  assertEquals(directories.length, new Set(directories).size);
  for (const directory of directories) {
    assert((await testFiles(directory, () => true)).length > 0, directory);
  }
});

Deno.test("allParts has each directory once, and leaves it out of the rest", () => {
  const [rest, ...parts] = allParts(["node_modules"]);
  assertEquals(rest, [`--ignore=node_modules,${PARTS.flat().join(",")}`]);
  assertEquals(parts, PARTS.map((part) => [...part]));
});

Deno.test("partsOf gives each file to one part", async () => {
  const files = await testFiles("tests", () => true);
  const parts = partsOf(files);
  assertEquals(parts.flat().sort(), [...files].sort());
  assertEquals(partsOf(["tests/interop/a_test.ts"]), [["tests/interop/a_test.ts"]]);
  assertEquals(partsOf(["tests/interoperable/a_test.ts"]), [["tests/interoperable/a_test.ts"]]);
});

Deno.test("inLanes runs so many parts at once, and gives what came of each in their order", async () => {
  const begun: number[] = [];
  const ends = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
  const results = inLanes([0, 1, 2, 3], 2, async (part) => {
    begun.push(part);
    await ends[part]!.promise;
    return part * 10;
  });
  assertEquals(begun, [0, 1]);
  ends[1]!.resolve();
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(begun, [0, 1, 2]);
  for (const { resolve } of ends) resolve();
  assertEquals(await results, [0, 10, 20, 30]);
});

Deno.test("inLanes fails as a part does", async () => {
  await assertRejects(() => inLanes([1], 3, () => Promise.reject(new Error("no"))), Error, "no");
});
