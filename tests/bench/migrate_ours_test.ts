import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import { JsonCommand } from "../../bench/migrate/json_command.ts";
import type { Move } from "../../bench/migrate/move.ts";
import { moveByUs } from "../../bench/migrate/our_move.ts";
import { LOOPBACK } from "../../bench/support/link.ts";

const SIZE = 32 << 20;
const MOVE: Move = {
  link: LOOPBACK,
  placement: "scheduler",
  size: SIZE,
  writers: 4,
  rate: 2000,
  postcopy: "never",
  limit: 120_000,
  warmUp: 0.2, // nobody looks at how fast it was
};

for (const postcopy of ["never", "now", 1] as const) {
  Deno.test(`moveByUs moves a guest with postcopy ${postcopy}`, async () => {
    const figures = await moveByUs({ ...MOVE, postcopy });
    assert(figures.completed);
    assertGreater(figures.transferred, SIZE);
    assertGreater(figures.downtime!, 0);
    assertGreater(figures.total, 0);
    assertGreater(figures.sourceRate, 0);
    assertEquals(figures.destinationRate === undefined, postcopy === "never");
  });
}

Deno.test("moveByUs moves a guest at rest", async () => {
  const figures = await moveByUs({ ...MOVE, rate: 0 });
  assert(figures.completed);
});

Deno.test("moveByUs cancels a precopy that does not converge in time", async () => {
  const figures = await moveByUs({ ...MOVE, size: 512 << 20, limit: 1 });
  assertEquals([figures.completed, figures.downtime], [false, undefined]);
});

Deno.test("JsonCommand says why its command failed", async () => {
  const main = new URL("../../server/main.ts", import.meta.url);
  await using command = new JsonCommand(main, ["workload", "--to", "nowhere"], []);
  await assertRejects(() => command.waitFor("result"), Error, "nowhere");
  await assertRejects(() => command.ended(), Error, "ended with 2");
});
