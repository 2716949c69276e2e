import { assertEquals } from "@std/assert";
import { type Run, subtract, union } from "../../migration/address_space/runs.ts";
import { Random } from "../support/random.ts";

const run = (start: number, end: number): Run => ({ start, end });

Deno.test("union merges runs that overlap or touch, in whatever order they come", () => {
  assertEquals(union([run(7, 9), run(0, 2), run(2, 4), run(1, 3), run(8, 9)]), [
    run(0, 4),
    run(7, 9),
  ]);
  assertEquals(union([]), []);
});

Deno.test("subtract leaves what only the first set has, also where one hole takes from two runs", () => {
  assertEquals(subtract([run(0, 10), run(20, 30)], [run(2, 3), run(8, 22), run(25, 40)]), [
    run(0, 2),
    run(3, 8),
    run(22, 25),
  ]);
  assertEquals(subtract([run(0, 4)], [run(0, 4)]), []);
  assertEquals(subtract([run(0, 4)], []), [run(0, 4)]);
});

Deno.test("union and subtract agree with sets of bytes", () => {
  const random = new Random(5);
  const some = () =>
    Array.from({ length: random.below(6) }, () => {
      const start = random.below(30);
      return run(start, start + 1 + random.below(8));
    });
  const bytes = (runs: readonly Run[]) =>
    new Set(
      runs.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i)),
    );
  for (let round = 0; round < 2000; round++) {
    const [a, b] = [union(some()), union(some())];
    assertEquals(bytes(union([...a, ...b])), bytes([...a, ...b]));
    assertEquals(bytes(subtract(a, b)), bytes(a).difference(bytes(b)));
    for (const result of [a, subtract(a, b)]) {
      for (let index = 1; index < result.length; index++) {
        assertEquals(result[index - 1]!.end < result[index]!.start, true);
      }
    }
  }
});
