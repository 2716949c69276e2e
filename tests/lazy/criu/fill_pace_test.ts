import { assertEquals } from "@std/assert";
import { FillPace } from "../../../client/lazy/criu/fill_pace.ts";

Deno.test("FillPace places more at a time the longer nobody waits, and little behind a fault", () => {
  const pace = new FillPace();
  const many = 1_000_000;
  const sizes = [0, 1, 2, 3].map(() => {
    const size = pace.batch(many);
    pace.placed();
    return size;
  });
  assertEquals(sizes, [64, 128, 256, 256]);
  pace.slowDown();
  assertEquals(pace.batch(many), 64);
});

Deno.test("FillPace yields to nobody when all that is missing can be there at once", () => {
  const pace = new FillPace();
  pace.slowDown();
  assertEquals([32769, 32768, 1].map((missing) => pace.batch(missing)), [64, 512, 512]);
});
