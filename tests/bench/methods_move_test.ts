import "../support/native.ts";
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { whyNoCompressingQemu } from "../../bench/methods/compressing_qemu.ts";
import { makeContent } from "../../bench/methods/contents.ts";
import { moveByUs } from "../../bench/methods/our_move.ts";
import { moveByQemu } from "../../bench/methods/qemu_move.ts";
import { type Move, WAY_NAMES, WAYS } from "../../bench/methods/way.ts";
import { LOOPBACK } from "../../bench/support/link.ts";
import { TemporaryDirectory } from "../../bench/support/temporary_directory.ts";
import { qemuFromEnvironment, whyNoQemu } from "../../qemu/qemu_binary.ts";
import { firstOf, needsCommand, type SkipReason, skipReason, testUnless } from "../support/skip.ts";

const SIZE = 16 << 20;
const binary = qemuFromEnvironment();
const needsTc = needsCommand("tc", "iproute2");

/** The need for a QEMU that still compresses pages. */
async function needsCompressingQemu(): Promise<SkipReason | undefined> {
  const missing = await whyNoQemu(binary);
  if (missing !== undefined) return skipReason("missing package", missing);
  const reason = await whyNoCompressingQemu(binary);
  return reason === undefined ? undefined : skipReason("no support", reason);
}

const skipQemu = firstOf(needsTc, await needsCompressingQemu());

for (const name of WAY_NAMES) {
  const way = WAYS[name];
  const by = way.side === "qemu" ? "moveByQemu" : "moveByUs";
  testUnless(way.side === "qemu" ? skipQemu : needsTc, `${by} moves a guest: ${name}`, async () => {
    using directory = new TemporaryDirectory();
    const content = `${directory.path}/mix`;
    await makeContent("mix", content, SIZE, { kernel: undefined, binary });
    const move: Move = {
      link: LOOPBACK,
      rate: 1e9,
      placement: "scheduler",
      content,
      size: SIZE,
      directory: directory.path,
    };
    const figures = way.side === "qemu"
      ? await moveByQemu(move, way, binary)
      : await moveByUs(move, way);
    assertEquals([...Deno.readDirSync(directory.path)].map(({ name }) => name), ["mix"]);
    assertGreater(figures.total, 0);
    assertGreater(figures.downtime, 0);
    assertEquals(figures.compression === undefined, way.method === undefined);
    // 60 % of the pages are not zero; compressed they take less than half of it.
    if (way.method === undefined) assertGreater(figures.transferred, SIZE * 0.55);
    else if (!way.postcopy) assertLess(figures.transferred, SIZE * 0.4);
  });
}
