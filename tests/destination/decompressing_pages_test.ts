import "../support/native.ts";
import { assertEquals, assertGreater, assertInstanceOf, assertThrows } from "@std/assert";
import { FIRST_OF_BURST } from "../../client/decompression/decompressing_pages.ts";
import { DecompressionThreads } from "../../client/decompression/decompression_threads.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { MAIN_CHANNEL_BYTES } from "../../client/incoming/stream_reader.ts";
import { clearEvent, Eventfd } from "../../ffi/eventfd.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { assertGreaterOrEqual } from "@std/assert";
import type { CompressionMethod } from "../../migration/compression.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { type PoolTask, type TaskKind, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { State } from "../../migration/threads/work_ring.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { Random } from "../support/random.ts";
import type { DyingInit } from "./dying_decompress_worker.ts";
import { packer } from "./packer.ts";
import { Unpacking, writeText } from "./unpacking.ts";

const PAGE = 4096;
const PAGES = 300;
const MACHINE: StreamMachine = {
  configuration: { machine: "mine" },
  ramSection: { id: 1, instance: 0, version: 4 },
  targetPageSize: PAGE,
  blocks: [{ name: "low", usedLength: 40 * PAGE }, { name: "high", usedLength: PAGES * PAGE }],
};
const DYING: TaskKind<DyingInit, never> = {
  thread: new URL("./dying_decompress_worker.ts", import.meta.url),
  name: "dying",
  urgent: false,
  calculates: true,
};
const METHODS: readonly CompressionMethod[] = ["zlib", "zstd"];

for (const method of METHODS) {
  for (const threads of [0, 1, 2, 8]) {
    Deno.test(
      `DecompressingPages gives every page of ${method} with ${threads} threads, whole and in its place`,
      async () => {
        await using unpacking = await Unpacking.start(threads, MACHINE, method);
        using pack = packer(method);
        const random = new Random(threads);
        const low = new Uint8Array(40 * PAGE);
        const high = new Uint8Array(PAGES * PAGE);
        for (let page = 0; page < PAGES; page++) {
          const [name, bytes, at] = random.oneIn(4) && page < 40
            ? ["low", low, page * PAGE] as const
            : ["high", high, page * PAGE] as const;
          const content = bytes.subarray(at, at + PAGE);
          writeText(random, content);
          if (random.oneIn(5)) unpacking.sendRaw(name, at, content);
          else unpacking.send(name, at, pack(content));
          if (random.oneIn(20)) unpacking.pages.flush();
        }
        unpacking.pages.settle();
        unpacking.assertBlock("low", low);
        unpacking.assertBlock("high", high);
        const figures = unpacking.threads.statistics()!;
        assertEquals([figures.method, figures.threads.length], [method, threads]);
        // Each page comes once and all threads are there: the fifth page of the burst goes to one at least.
        const byThreads = figures.pages - figures["by-reader"];
        if (threads === 0) assertEquals(byThreads, 0);
        else assertGreater(byThreads, 0);
        assertGreater(figures["compressed-size"], figures.pages * 20);
      },
    );
  }
}

Deno.test("DecompressingPages keeps the last of many versions of a page, however each was sent", async () => {
  await using unpacking = await Unpacking.start(2, MACHINE, "zlib");
  using pack = packer("zlib");
  const random = new Random(8);
  const versions = Array.from({ length: 32 }, () => {
    const page = new Uint8Array(PAGE);
    writeText(random, page);
    return { page, packed: pack(page) };
  });
  const expected = new Uint8Array(40 * PAGE);
  let inBurst = 0;
  let surelyGiven = 0;
  for (let round = 0; round < 3000; round++) {
    for (let record = random.between(2, 16); record > 0; record--) {
      const offset = random.below(6) * PAGE;
      const { page, packed } = random.pick(versions);
      switch (random.below(8)) {
        case 0:
          unpacking.sendRaw("low", offset, page);
          expected.set(page, offset);
          break;
        case 1:
          unpacking.pages.select("low");
          unpacking.pages.zeroPage(offset);
          expected.fill(0, offset, offset + PAGE);
          break;
        case 2:
          unpacking.pages.select("low");
          unpacking.pages.xbzrlePage(offset, unpacking.buffer.bytes, 0, 1);
          expected[offset]! += 1;
          break;
        default:
          unpacking.send("low", offset, packed);
          expected.set(page, offset);
          // Given to a thread, which cannot be too busy for one of six pages: so the next record may be
          // of this page, wait for it, and begin another burst.
          if (++inBurst <= FIRST_OF_BURST) break;
          surelyGiven++;
          inBurst = 0;
      }
    }
    if (!random.oneIn(2)) {
      unpacking.pages.flush();
      continue;
    }
    unpacking.pages.settle();
    inBurst = 0;
    unpacking.assertBlock("low", expected);
  }
  // On their way at the same time as they came again, or nothing was tried. How many depends on how
  // quick the threads are, but for those that come behind so many of their burst.
  const { pages, "by-reader": byReader } = unpacking.threads.statistics()!;
  assertGreaterOrEqual(pages - byReader, surelyGiven);
  assertGreater(surelyGiven, 1000);
});

Deno.test("DecompressingPages.settled waits for no thread: the reader's eventfd is signalled when there is more", async () => {
  await using unpacking = await Unpacking.start(2, MACHINE, "zlib");
  using pack = packer("zlib");
  const random = new Random(9);
  const expected = new Uint8Array(PAGES * PAGE);
  const set = new PollSet(1);
  set.watch(0, unpacking.wake.fd, PollEvents.IN);
  let calls = 0;
  for (let page = 0; calls < 100; page = (page + 1) % PAGES) {
    const content = expected.subarray(page * PAGE, (page + 1) * PAGE);
    writeText(random, content);
    unpacking.send("high", page * PAGE, pack(content));
    if (page % 10 !== 9) continue;
    while (!unpacking.pages.settled()) {
      assertEquals(set.wait(60_000), 1); // a call that was lost
      clearEvent(unpacking.wake.fd);
      calls++;
    }
    unpacking.assertBlock("high", expected);
  }
});

Deno.test("DecompressingPages waits for all pages before a discard and before LISTEN", async () => {
  await using unpacking = await Unpacking.start(2, MACHINE, "zlib");
  using pack = packer("zlib");
  const page = new Uint8Array(PAGE).fill(9);
  const expected = new Uint8Array(PAGES * PAGE);
  const some = (first: number) => {
    for (let index = first; index < first + 20; index++) {
      unpacking.send("high", index * PAGE, pack(page));
      expected.set(page, index * PAGE);
    }
  };
  some(0);
  unpacking.pages.discard({ kind: "discard", block: "high", ranges: [] });
  unpacking.assertBlock("high", expected);
  some(100);
  unpacking.pages.listen();
  unpacking.assertBlock("high", expected);
  assertEquals(unpacking.memory.log, ["discard with 0 waiting", "listen with 0 waiting"]);
});

for (const dying of [1, 2]) {
  Deno.test(`DecompressingPages loses no page when ${dying} of 2 threads die in the middle of one`, async () => {
    await using pool = new ThreadPool({ compressionThreads: 2, linger: 0 });
    using wakes = new DisposableStack();
    const tasks: PoolTask<DyingInit, never>[] = [];
    const begin = ({ shared, rings, wake }: Unpacking) => {
      rings.wakeFd = wake.fd;
      for (let worker = 0; worker < 2; worker++) {
        const task = pool.task(DYING);
        // Each gets at least the four of each of the six bursts that its ring takes, however slow it is.
        const after = worker < dying ? 7 + 10 * worker : Infinity;
        const slots = shared.memory.address + ReceiveBuffer.roomFor(MAIN_CHANNEL_BYTES);
        rings.wakeWorkerBy(worker, wakes.use(new Eventfd()).fd);
        task.run({ method: "zlib", worker, slots, after, threads: 2, rings: rings.buffer });
        tasks.push(task);
      }
    };
    await using unpacking = new Unpacking(2, MACHINE, "zlib", begin);
    await unpacking.entered();
    using pack = packer("zlib");
    const random = new Random(dying);
    const expected = new Uint8Array(PAGES * PAGE);
    // All of it in one turn of this thread: as the main thread's, which may stand still on a page.
    for (let page = 0; page < PAGES; page++) {
      const content = expected.subarray(page * PAGE, (page + 1) * PAGE);
      writeText(random, content);
      unpacking.send("high", page * PAGE, pack(content));
      if (page % 50 === 49) unpacking.pages.settle();
    }
    unpacking.assertBlock("high", expected);
    assertEquals([unpacking.in(State.BURIED), unpacking.rings.outstanding], [dying, 0]);
    unpacking.threads.stop();
    const ends = await Promise.allSettled(tasks.map((task) => task.ended));
    await Promise.all(tasks.map((task) => task.join()));
    assertEquals(ends.filter(({ status }) => status === "rejected").length, dying);
  });
}

for (const method of METHODS) {
  for (const threads of [0, 2]) {
    Deno.test(
      `DecompressingPages names block, offset and method for each byte of a page of ${method} that is damaged, with ${threads} threads`,
      async () => {
        await using unpacking = await Unpacking.start(threads, MACHINE, method);
        using pack = packer(method);
        const page = new Uint8Array(PAGE);
        writeText(new Random(3), page);
        const packed = pack(page);
        const message = `Page of RAM block high at 32768 cannot be decompressed (${method}): it `;
        const check = (damaged: Uint8Array, whole: boolean, what: string) => {
          try {
            // Those before it are for the reading thread alone.
            const others = threads === 0 ? 1 : FIRST_OF_BURST;
            for (let page = 0; page < others; page++) unpacking.send("high", page * PAGE, packed);
            unpacking.send("high", 8 * PAGE, damaged);
            unpacking.pages.settle();
          } catch (error) {
            assertInstanceOf(error, MigrationError);
            assertEquals([error.code, error.message.slice(0, message.length)], [
              "BAD_PEER",
              message,
            ]);
            return unpacking.reopen();
          }
          // A bit that changes how the content is written, and not the content, makes no damage.
          assertEquals(whole, false, what);
          assertEquals(unpacking.memory.block("high").subarray(8 * PAGE, 9 * PAGE), page, what);
        };
        for (let at = 0; at < packed.length; at++) {
          for (const change of [0xff, 1, 2, 4, 8, 16, 32, 64, 128]) {
            const damaged = packed.slice();
            damaged[at]! ^= change;
            check(damaged, change === 0xff, `Byte ${at} changed by ${change}`);
          }
        }
        for (let length = 1; length < packed.length; length++) {
          check(packed.subarray(0, length), true, `Cut after ${length} bytes`);
        }
      },
    );
  }

  Deno.test(`DecompressingPages refuses what makes more or less than a page of ${method}`, async () => {
    await using unpacking = await Unpacking.start(2, MACHINE, method);
    using pack = packer(method);
    for (const length of [1, PAGE - 1, PAGE + 1, 3 * PAGE]) {
      const packed = pack(new Uint8Array(length).fill(7));
      assertThrows(
        () => {
          unpacking.send("low", 0, packed);
          unpacking.pages.settle();
        },
        MigrationError,
        `Page of RAM block low at 0 cannot be decompressed (${method}): it does not make 4096 bytes`,
      );
      unpacking.reopen();
    }
  });
}

Deno.test("DecompressingPages refuses a page of zstd where zlib was not replaced", async () => {
  await using unpacking = await Unpacking.start(0, MACHINE, "zlib");
  using pack = packer("zstd");
  assertThrows(
    () => unpacking.send("low", PAGE, pack(new Uint8Array(PAGE).fill(1))),
    MigrationError,
    "Page of RAM block low at 4096 cannot be decompressed (zlib): it is damaged",
  );
});

Deno.test("DecompressingPages refuses pages of unknown blocks, outside of one, and of other sizes", async () => {
  const packed = new Uint8Array(20);
  {
    await using unpacking = await Unpacking.start(1, MACHINE, "zlib");
    const { pages } = unpacking;
    const bad = (act: () => void, message: string) => assertThrows(act, MigrationError, message);
    bad(() => pages.compressedPage(0, packed, 0, 20), "Page before any RAM block");
    bad(() => pages.select("none"), "Page of an unknown RAM block: none");
    bad(
      () => unpacking.send("low", 40 * PAGE, packed),
      "Page outside RAM block low of 163840 bytes: at 163840",
    );
  }
  const other = { ...MACHINE, targetPageSize: 2 * PAGE };
  await using unpacking = await Unpacking.start(0, other, "zlib");
  assertThrows(
    () => unpacking.send("low", 0, packed),
    MigrationError,
    "Compressed pages of other sizes than 4096 bytes are not supported",
  );
});

Deno.test("DecompressingPages waits for a huge page's last part before it gives a part of another", async () => {
  const machine = {
    ...MACHINE,
    blocks: [{ name: "huge", usedLength: 4 << 21, pageSize: 1 << 21 }, MACHINE.blocks[0]!],
  };
  await using unpacking = await Unpacking.start(2, machine, "zlib");
  using pack = packer("zlib");
  const given: number[] = [];
  const { memory, pages } = unpacking;
  const take = memory.page.bind(memory);
  memory.page = (offset, bytes, at, address) => {
    given.push(Math.floor(offset / (1 << 21)));
    take(offset, bytes, at, address);
  };
  pages.listen();
  const packed = pack(new Uint8Array(PAGE).fill(5));
  const order = [2, 0, 3, 1];
  for (const huge of order) {
    for (let page = 0; page < 512; page++) {
      const offset = huge * (1 << 21) + page * PAGE;
      if (page % 7 === 3) unpacking.sendRaw("huge", offset, new Uint8Array(PAGE).fill(5));
      else unpacking.send("huge", offset, packed);
    }
  }
  pages.settle();
  assertEquals(given, order.flatMap((huge) => Array.from({ length: 512 }, () => huge)));
});

Deno.test("DecompressionThreads ends its threads and frees its memory, started or not", async () => {
  await new DecompressionThreads(3).close();
  const unpacking = await Unpacking.start(3, MACHINE, "zlib");
  const { address } = unpacking.shared.memory;
  const mapped = () =>
    Deno.readTextFileSync("/proc/self/maps").includes(address.toString(16) + "-");
  assertEquals(mapped(), true);
  await unpacking[Symbol.asyncDispose]();
  await unpacking[Symbol.asyncDispose]();
  assertEquals(mapped(), false);
});

Deno.test("DecompressionThreads does not start threads that were ended", async () => {
  const threads = new DecompressionThreads(2);
  assertGreater(threads.shared.memory.length, 0);
  threads.stop();
  threads.start("zlib", -1);
  assertEquals(threads.statistics(), undefined);
  await threads.close();
});

for (const threads of [-1, 1.5, 256, NaN]) {
  Deno.test(`DecompressionThreads refuses ${threads} threads`, () => {
    assertThrows(
      () => new DecompressionThreads(threads),
      RangeError,
      `Decompression threads must be a whole number from 0 to 255: ${threads}`,
    );
  });
}
