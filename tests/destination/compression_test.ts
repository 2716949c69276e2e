import "../support/native.ts";
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import { Destination, type DestinationOptions } from "../../client/destination.ts";
import type { Backing } from "../../ffi/memory.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { EXTENSION_COOKIE } from "../../migration/protocol/extensions.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { outcomeOf } from "../hostile/outcome.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { StillGuest } from "../support/still_guest.ts";
import { type Coding, ScriptedMemory } from "./scripted_memory.ts";
import type { Sending, SentMemory } from "./sending_worker.ts";
import { packer } from "./packer.ts";
import { writeText } from "./unpacking.ts";

await keepThreads(...DESTINATION);

const BLOCKS = { ram: 600, rom: 40 };
const METHODS: readonly CompressionMethod[] = ["zlib", "zstd"];

/** A destination, its guest, and a source that has announced how it compresses, and its blocks. */
async function arrange(
  options: Partial<DestinationOptions>,
  method: CompressionMethod,
  stack: AsyncDisposableStack,
): Promise<{
  destination: Destination;
  guest: StillGuest;
  source: HostileSource;
  memory: ScriptedMemory;
}> {
  const guest = new StillGuest();
  const destination = stack.use(new Destination({ guest, ...options }));
  const source = stack.use(new HostileSource(await destination.listen(LOOPBACK), BLOCKS));
  const memory = new ScriptedMemory(source, BLOCKS);
  await source.connect();
  source.encodeAdvise();
  if (method === "zstd") source.stream.command({ kind: "extensions", names: ["zstd"] });
  source.encodeBlocks();
  return { destination, guest, source, memory };
}

const all = (memory: ScriptedMemory) => Array.from({ length: memory.pages }, (_, page) => page);

/** Waits until a decompression thread has had a page, while precopy sends the same again and again. */
async function warmUp(
  destination: Destination,
  source: HostileSource,
  memory: ScriptedMemory,
  coding: Coding,
): Promise<void> {
  let version = 100;
  await until("a decompression thread", async () => {
    memory.write(all(memory).slice(0, 40), version++, coding);
    await source.flush();
    const { decompression } = destination.statistics();
    if (decompression === undefined) return false;
    const { threads } = decompression;
    return threads.length === 0 || threads.some((thread) => thread["cpu-time"] > 0);
  });
}

Deno.test(
  "Destination takes a page of zstd for damaged zlib unless the source has said so",
  leavingNoDescriptors(async () => {
    using pack = packer("zstd");
    const packed = pack(new Uint8Array(4096).fill(3));
    const { status, message } = await outcomeOf(async (source) => {
      await source.connect();
      source.encodeAdvise();
      source.encodeBlocks();
      source.stream.sectionPart(2);
      source.stream.block("ram");
      source.stream.compressedPage(0, packed, 0, packed.length);
      source.stream.endOfSection();
      await source.flush();
    });
    assertMatch(message, /^Page of RAM block ram at 0 cannot be decompressed \(zlib\): it is dam/);
    assertEquals(status, "failed");
  }),
);

Deno.test(
  "Destination refuses a source that uses an extension it does not know",
  leavingNoDescriptors(async () => {
    const { status, code, message } = await outcomeOf(async (source) => {
      await source.connect();
      source.encodeAdvise();
      source.stream.command({ kind: "extensions", names: ["compress-postcopy", "brotli"] });
      await source.flush();
    });
    assertMatch(message, /^Source uses an extension that is not known here.*: brotli$/);
    assertEquals({ status, code }, { status: "failed", code: "UNSUPPORTED" });
  }),
);

Deno.test(
  "Destination lists its extensions before the PONG for a source that asks, and for no other",
  leavingNoDescriptors(async () => {
    for (const value of [EXTENSION_COOKIE, 1]) {
      await using destination = new Destination({ guest: new StillGuest() });
      using source = new HostileSource(await destination.listen(LOOPBACK));
      await source.connect();
      source.stream.header();
      source.stream.configuration({ machine: "mine" });
      source.stream.command({ kind: "open-return-path" });
      source.stream.command({ kind: "ping", value });
      await source.flush();
      const pong = [
        0,
        2,
        0,
        4,
        value >>> 24,
        (value >> 16) & 0xff,
        (value >> 8) & 0xff,
        value & 0xff,
      ];
      const names = ["zstd", "compress-postcopy", "absent-pages", "absent-behind-pages"]
        .flatMap((name) => [name.length, ...new TextEncoder().encode(name)]);
      const list = value === EXTENSION_COOKIE ? [0x50, 0x43, 0, names.length, ...names] : [];
      const heard: number[] = [];
      const piece = new Uint8Array(100);
      while (heard.length < list.length + pong.length) {
        heard.push(...piece.subarray(0, await source.main.receive(piece)));
      }
      assertEquals(heard, [...list, ...pong]);
    }
  }),
);

const CASES: readonly [number, Backing][] = [
  [0, "anonymous"],
  [1, "memfd"],
  [2, "anonymous"],
  [2, "memfd"],
  [8, "anonymous"],
];
for (const method of METHODS) {
  for (const [decompressThreads, backing] of CASES) {
    Deno.test(
      `Destination with ${backing} memory and ${decompressThreads} threads has every byte of pages of ${method}, before and after LISTEN`,
      leavingNoDescriptors(async () => {
        await using stack = new AsyncDisposableStack();
        const options = { backing, decompressThreads };
        const { destination, guest, source, memory } = await arrange(options, method, stack);
        const random = new Random(decompressThreads);
        memory.write(all(memory), 1, method);
        await warmUp(destination, source, memory, method);
        for (let round = 2; round < 6; round++) {
          for (let piece = 0; piece < 8; piece++) {
            const pages = all(memory).filter(() => random.oneIn(6));
            const coding = random.oneIn(3) ? "plain" : method;
            memory.write(pages, random.oneIn(4) ? 0 : round * 8 + piece, coding);
          }
          memory.writeDifference(all(memory).filter(() => random.oneIn(20)), round);
        }
        const gone = all(memory).filter(() => random.oneIn(2));
        memory.discard(gone);
        memory.switchOver();
        for (const page of gone) {
          memory.write([page], 200 + page % 7, random.oneIn(4) ? "plain" : method);
        }
        source.encodeEnd();
        await source.flush();
        await within("the end", destination.finished);
        memory.assertEqual(guest.blocks);
        const { received, duplicates, decompression } = destination.statistics();
        assertEquals({ received, duplicates }, { received: memory.pages, duplicates: 0 });
        assertEquals(decompression!.threads.length, decompressThreads);
        assertGreater(decompression!.pages, 1000);
        if (decompressThreads > 0) assertGreater(decompression!.pages, decompression!["by-reader"]);
      }),
    );
  }

  Deno.test(
    `Destination has the last of many versions of a page, as ${method}, raw, zero or a difference`,
    leavingNoDescriptors(async () => {
      for (const backing of ["anonymous", "memfd"] as const) {
        await using stack = new AsyncDisposableStack();
        const { destination, guest, source, memory } = await arrange({ backing }, method, stack);
        await warmUp(destination, source, memory, method);
        const random = new Random(21);
        for (let round = 0; round < 300; round++) {
          const pages = Array.from({ length: 20 }, () => random.below(5));
          const version = random.between(1, 2000);
          switch (random.below(6)) {
            case 0:
              memory.write(pages, 0);
              break;
            case 1:
              memory.write(pages, version);
              break;
            case 2:
              memory.writeDifference(pages, version);
              break;
            default:
              memory.write(pages, version, method);
          }
          if (random.oneIn(4)) await source.flush();
        }
        memory.endPrecopy();
        await source.flush();
        await within("the end", destination.finished);
        memory.assertEqual(guest.blocks);
      }
    }),
  );

  Deno.test(
    `Destination keeps the first content of a page of ${method} that comes again after LISTEN`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const { destination, guest, source, memory } = await arrange({}, method, stack);
      await warmUp(destination, source, memory, method);
      memory.discard(all(memory).slice(0, 40)); // what warmed it up
      memory.switchOver();
      memory.write(all(memory), 7, method);
      const other = new ScriptedMemory(source, BLOCKS);
      other.write(all(other).slice(0, 100), 9);
      other.write(all(other).slice(50, 200), 10, method);
      other.write(all(other).slice(300, 340), 0);
      source.encodeEnd();
      await source.flush();
      await within("the end", destination.finished);
      memory.assertEqual(guest.blocks);
      assertEquals(destination.statistics().duplicates, 290);
    }),
  );
}

Deno.test(
  "Destination has every compressed page before the guest runs, though the end comes right behind",
  leavingNoDescriptors(async () => {
    await using stack = new AsyncDisposableStack();
    const { destination, guest, source, memory } = await arrange({}, "zlib", stack);
    let seen: Int32Array | undefined;
    // Looked at when the guest starts: what comes later comes too late.
    guest.start = () => {
      seen = guest.words().slice();
    };
    await warmUp(destination, source, memory, "zlib");
    memory.write(all(memory), 5, "zlib");
    memory.endPrecopy();
    await source.flush();
    await within("the end", destination.finished);
    const sent = new Int32Array(memory.bytes.buffer, 0, BLOCKS.ram * 1024);
    const wrong = seen!.findIndex((word, at) => word !== sent[at]);
    assertEquals([wrong, seen!.length], [-1, sent.length]);
    memory.assertEqual(guest.blocks);
  }),
);

Deno.test("Destination places all of a burst of compressed pages, though nothing follows", async () => {
  await using stack = new AsyncDisposableStack();
  const { destination, source, memory } = await arrange({}, "zlib", stack);
  await warmUp(destination, source, memory, "zlib");
  for (let here = 40; here < memory.pages; here += 100) {
    memory.write(all(memory).slice(here, here + 100), 5, "zlib");
    await source.flush();
    await until("the burst", () => destination.statistics().received === here + 100);
  }
});

for (const warm of [true, false]) {
  const when = warm ? "pass through threads" : "begin only then, and so through no thread";
  Deno.test(
    `Destination serves its own main thread that stands still while compressed pages ${when}`,
    async () => {
      let sum = 0;
      const guest = new StillGuest((guest) => {
        const words = guest.words();
        for (let word = 0; word < words.length; word += 1024 * 31) sum += words[word]!;
      });
      await using destination = new Destination({ guest });
      const to = await destination.listen(LOOPBACK);
      const worker = new Worker(new URL("./sending_worker.ts", import.meta.url), {
        type: "module",
      });
      const { promise, resolve } = Promise.withResolvers<SentMemory>();
      worker.onmessage = ({ data }: MessageEvent<SentMemory>) => resolve(data);
      worker.postMessage({ to, warm } satisfies Sending);
      if (warm) {
        const used = () =>
          destination.statistics().decompression?.threads.some((each) => each["cpu-time"] > 0);
        await until("a decompression thread", () => used() ?? false);
      }
      worker.postMessage("go on");
      const sent = await within("the source", promise);
      await within("the end", destination.finished);
      assertEquals(new Uint8Array(guest.words().buffer), sent.bytes);
      assertGreater(sent.requests, 0);
      assertGreater(sum, 0);
    },
  );
}

/** Bytes of a compressed page, from the first to the last: tests/destination/decompressing_pages_test.ts tries all. */
const POSITIONS = Array.from({ length: 6 }, (_, index) => index / 5);

for (const method of METHODS) {
  for (const runs of [false, true]) {
    Deno.test(
      `Destination ${runs ? "pauses" : "fails"} at a damaged page of ${method} ${
        runs ? "after" : "before"
      } RUN and says which`,
      leavingNoDescriptors(async () => {
        using pack = packer(method);
        const page = new Uint8Array(4096);
        writeText(new Random(4), page);
        const packed = pack(page);
        for (const position of POSITIONS) {
          const damaged = packed.slice();
          const at = Math.round(position * (packed.length - 1));
          damaged[at]! ^= 0xff;
          const guest = new StillGuest();
          const { status, code, message } = await outcomeOf(async (source) => {
            await source.connect();
            source.encodeAdvise();
            if (method === "zstd") source.stream.command({ kind: "extensions", names: ["zstd"] });
            source.encodeBlocks();
            if (runs) {
              source.encodeSwitchover();
              await source.flush();
              await source.hear(({ pongs }) => pongs.includes(3));
              await until("the guest to start", () => guest.calls.includes("start"));
            }
            const { stream } = source;
            stream.sectionPart(2);
            stream.block("ram");
            for (let page = 0; page < 20; page++) {
              const bytes = page === 7 ? damaged : packed;
              stream.compressedPage(page * 4096, bytes, 0, bytes.length);
            }
            stream.endOfSection();
            stream.sectionFooter(2);
            await source.flush();
          }, guest);
          const where = `Page of RAM block ram at ${
            7 * 4096
          } cannot be decompressed (${method}): it `;
          assertEquals(message.slice(0, where.length), where, `Byte ${at}`);
          const expected = runs ? "postcopy-paused" : "failed";
          assertEquals({ status, code }, { status: expected, code: "BAD_PEER" }, `Byte ${at}`);
        }
      }),
    );
  }
}

/** Threads of workers, which Deno names so. */
function workerThreads(): string[] {
  return [...Deno.readDirSync("/proc/self/task")].map(({ name }) => name).filter((task) => {
    try {
      return Deno.readTextFileSync(`/proc/self/task/${task}/comm`).startsWith("worker-");
    } catch {
      return false; // ended meanwhile
    }
  });
}

Deno.test("Destination gives its decompression threads back, whenever it is closed", async () => {
  for (const complete of [true, false]) {
    await using stack = new AsyncDisposableStack();
    const others = new Set(workerThreads());
    const pool = stack.use(new ThreadPool({ compressionThreads: 3, linger: 0 }));
    const options = { decompressThreads: 8, pool };
    const { destination, source, memory } = await arrange(options, "zlib", stack);
    await warmUp(destination, source, memory, "zlib");
    const started = () => workerThreads().filter((task) => !others.has(task));
    await until("all threads", () => started().length === 5); // with those that read the channels
    const ours = started();
    const left = () => workerThreads().filter((task) => ours.includes(task)).length;
    if (complete) {
      memory.endPrecopy();
      await source.flush();
      await within("the end", destination.finished);
      // Before it is closed: the guest goes on using its memory.
      await until("the threads to end", () => left() <= 1);
    }
    source[Symbol.dispose](); // the destination waits for it to hear the end
    await destination.close();
    await until("the threads to end", () => left() === 0);
  }
});
