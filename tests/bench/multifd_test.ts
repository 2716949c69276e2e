import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import { MemoryDigest, writeContent } from "../../bench/multifd/content.ts";
import { moveBy } from "../../bench/multifd/move.ts";
import { type Move, PAIRS } from "../../bench/multifd/point.ts";
import { digestOf, startGuest } from "../../bench/multifd/qemu_ends.ts";
import { WriterThread } from "../../bench/multifd/writer_thread.ts";
import { LOOPBACK } from "../../bench/support/link.ts";
import { TemporaryDirectory } from "../../bench/support/temporary_directory.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { capture } from "../../qemu/capture.ts";
import { qemuFromEnvironment, whyNoQemu } from "../../qemu/qemu_binary.ts";
import { until } from "../support/deadline.ts";
import { needsRoot, skipReason, testUnless } from "../support/skip.ts";

const binary = qemuFromEnvironment();
const reason = await whyNoQemu(binary);
const noQemu = reason === undefined ? needsRoot() : skipReason("missing package", reason);
const root = binary.root.replace(/\/+$/, "");

const SIZE = 32 << 20;

/** The content in a directory that a QEMU sees, and its digest. */
function content(directory: TemporaryDirectory): { content: string; digest: string } {
  const path = `${directory.path}/content`;
  writeContent(path, SIZE);
  const digest = new MemoryDigest();
  digest.add(Deno.readFileSync(path));
  return { content: path, digest: digest.end() };
}

function moveOf(content: string, rate: number): Move {
  return {
    ...{ channels: 2, compression: "zstd", guest: rate === 0 ? "rest" : "writer", rate },
    ...{ link: LOOPBACK, placement: "scheduler", content, size: SIZE, compares: true },
  };
}

Deno.test("writeContent has no zero page, and the same bytes each time", () => {
  using directory = new TemporaryDirectory();
  const path = `${directory.path}/content`;
  writeContent(path, 4 << 20);
  const bytes = Deno.readFileSync(path);
  assertEquals(bytes.length, 4 << 20);
  for (let at = 0; at < bytes.length; at += 4096) {
    assert(bytes.subarray(at, at + 4096).some((byte) => byte !== 0), `Zero page at ${at}`);
  }
  writeContent(path, 4 << 20);
  assertEquals(Deno.readFileSync(path), bytes);
});

Deno.test("WriterThread writes until it is stopped, and goes on when it is resumed", async () => {
  using memory = MappedMemory.anonymous(1 << 20);
  const bytes = memory.bytes();
  const { address, length } = memory;
  await using writer = await WriterThread.start({ address, length, rate: 50_000 });
  await until("a write", () => bytes.some((byte) => byte !== 0));
  await writer.stop();
  bytes.fill(0);
  await writer.resume();
  await until("another write", () => bytes.some((byte) => byte !== 0));
});

Deno.test("moveBy refuses memory that is not what was sent", async () => {
  using directory = new TemporaryDirectory();
  const { content: path } = content(directory);
  const peers = { binary, image: "", imageDigest: "" };
  await assertRejects(
    () => moveBy("ours", moveOf(path, 0), peers, "another"),
    Error,
    "Memory differs from what was sent",
  );
});

for (const rate of [0, 2000]) {
  const guest = rate === 0 ? "at rest" : "that writes";
  for (const pair of PAIRS) {
    if (pair === "serve-qemu" && rate > 0) continue;
    testUnless(
      pair === "ours" ? undefined : noQemu,
      `moveBy moves every byte of a guest ${guest} over two channels, pair ${pair}`,
      async () => {
        using directory = new TemporaryDirectory(root === "" ? undefined : `${root}/tmp`);
        const { content: path, digest } = content(directory);
        const move = moveOf(path, rate);
        const image = `${directory.path}/image`;
        let imageDigest = "";
        if (pair === "serve-qemu") {
          await using qemu = await startGuest(move, binary);
          await capture(qemu, image);
          imageDigest = await digestOf(qemu, SIZE);
        }
        const figures = await moveBy(pair, move, { binary, image, imageDigest }, digest);
        assertGreater(figures.rate, 0);
        assertGreater(figures.transferred, 0);
        assertGreater(figures.sourceCpu + figures.destinationCpu, 0);
      },
    );
  }
}
