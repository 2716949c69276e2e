import { assert, assertEquals, assertGreater } from "@std/assert";
import { moveCompressed, type Scene } from "../../bench/compress/compressed_move.ts";
import { LOOPBACK } from "../../bench/support/link.ts";

const SCENE: Scene = {
  link: LOOPBACK,
  placement: "scheduler",
  size: 16 * 2 ** 20,
  repeats: 4,
  writers: 2,
  rate: 2000,
  warmUp: 0,
  maxBandwidth: 0,
  downtimeLimit: 300,
  limit: 60_000,
  method: "zlib",
  level: 1,
  decompressThreads: 2,
};

for (const wait of [true, false]) {
  const name = `moveCompressed with the reference model, wait ${wait ? "on" : "off"}`;
  Deno.test(`${name}, moves a guest whose every byte is right`, async () => {
    const figures = await moveCompressed(SCENE, { threads: 4, wait }, "before");
    assert(figures.completed);
    if (wait) assertEquals(figures.busy, 0);
    // Every page went, compressed to about a quarter or as it was.
    const perPage = figures.busy * 4096 + (1 - figures.busy) * figures.compressedTo * 4096;
    assertGreater(figures.transferred, SCENE.size / 4096 * perPage * 0.99);
    assertEquals(figures.compressors.length, 4);
    if (wait) assert(figures.compressors.some((share) => share > 0));
  });
}

Deno.test("moveCompressed cancels a migration that has not converged within its limit", async () => {
  const scene: Scene = { ...SCENE, rate: 20_000, downtimeLimit: 0, limit: 500 };
  const figures = await moveCompressed(scene, { threads: 2, wait: true }, "before");
  assertEquals(figures.completed, false);
  assertEquals(figures.downtime, undefined);
});
