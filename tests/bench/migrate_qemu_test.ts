import "../support/native.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import type { Move } from "../../bench/migrate/move.ts";
import { moveByQemu } from "../../bench/migrate/qemu_move.ts";
import { LOOPBACK } from "../../bench/support/link.ts";
import { qemuFromEnvironment, whyNoQemu } from "../../qemu/qemu_binary.ts";
import { needsRoot, skipReason, testUnless } from "../support/skip.ts";

const binary = qemuFromEnvironment();
const reason = await whyNoQemu(binary);
const skip = reason === undefined ? needsRoot() : skipReason("missing package", reason);

const SIZE = 32 << 20;
const MOVE: Move = {
  link: LOOPBACK,
  placement: "scheduler",
  size: SIZE,
  writers: 4,
  rate: 2000,
  postcopy: "never",
  limit: 120_000,
};

for (const postcopy of ["never", "now", 1] as const) {
  testUnless(skip, `moveByQemu moves a guest with postcopy ${postcopy}`, async () => {
    const figures = await moveByQemu({ ...MOVE, postcopy }, binary);
    assert(figures.completed);
    assertGreater(figures.transferred, SIZE);
    assertGreater(figures.downtime!, 0);
    assertGreater(figures.total, 0);
    assertGreater(figures.sourceRate, 0);
  });
}

testUnless(skip, "moveByQemu cancels a precopy that does not converge in time", async () => {
  const figures = await moveByQemu({ ...MOVE, size: 512 << 20, limit: 1 }, binary);
  assertEquals([figures.completed, figures.downtime], [false, undefined]);
});
