import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { deflateSync } from "node:zlib";
import { OutputFile } from "../../ffi/file.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { DecompressingPages } from "../../client/decompression/decompressing_pages.ts";
import { DecompressionThreads } from "../../client/decompression/decompression_threads.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { MAIN_CHANNEL_BYTES } from "../../client/incoming/stream_reader.ts";
import { compressionLibrary } from "../../ffi/compression/codec.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { ImageMemory } from "../../client/receive/image_memory.ts";
import { imageTail } from "../../image/mapped_ram/image_tail.ts";
import { Counter, ReceiveState } from "../../client/receive/receive_state.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { openImage } from "../../image/open_image.ts";
import { WaitingPages } from "../destination/waiting_pages.ts";
import { deviceSection, withDirectory } from "../image/captures.ts";
import { Random } from "../support/random.ts";
import { assertImageMemory, ModelChannel } from "./memory_model.ts";

const PAGE = 4096;
compressionLibrary("zlib"); // here, where the resource sanitizer does not take it for a leak
const BLOCKS = [{ name: "pc.ram", usedLength: 100 * PAGE }, { name: "rom", usedLength: 33 * PAGE }];
const MACHINE: StreamMachine = {
  configuration: { machine: "pc-q35-7.2" },
  ramSection: { id: 2, instance: 0, version: 4 },
  targetPageSize: PAGE,
  blocks: BLOCKS,
};
const DEVICES = deviceSection(7, "cpu", 3, new Uint8Array(11));

/** Runs with memory that has been opened. */
function withMemory(
  use: (memory: ImageMemory, state: ReceiveState, path: string) => void | Promise<void>,
  open = (memory: ImageMemory) => memory.open(MACHINE),
): Promise<void> {
  return withDirectory(async (directory) => {
    const path = `${directory}/image`;
    using file = OutputFile.create(path);
    const state = new ReceiveState();
    using memory = new ImageMemory(file, state);
    open(memory);
    await use(memory, state, path);
  });
}

/** A difference of one run, as XBZRLE encodes it. */
function oneRun(at: number, bytes: Uint8Array): Uint8Array {
  const length = (value: number) => value < 0x80 ? [value] : [(value & 0x7f) | 0x80, value >>> 7];
  return Uint8Array.from([...length(at), ...length(bytes.length), ...bytes]);
}

for (let seed = 1; seed <= 4; seed++) {
  Deno.test(`ImageMemory gives what records of every kind describe, in any order, seed ${seed}`, () =>
    withMemory(async (memory, state, path) => {
      const random = new Random(seed);
      using wake = new Eventfd();
      const threads = new DecompressionThreads(2);
      const { shared } = threads;
      using input = new ReceiveBuffer(MAIN_CHANNEL_BYTES, shared.memory);
      const begin = (method: CompressionMethod) => threads.start(method, wake.fd);
      const own = new DecompressingPages(memory, input, shared, begin);
      using pages = new WaitingPages(own, wake.fd);
      pages.open(MACHINE);
      const model = new ModelChannel();
      for (const entry of BLOCKS) model.blockEntry(entry);
      using buffer = MappedMemory.anonymous(32 * PAGE);
      const bytes = buffer.bytes();
      const named = new Set<string>();
      for (let piece = 0; piece < 60; piece++) {
        const { name, usedLength } = random.pick(BLOCKS);
        pages.select(name);
        model.block(name);
        let page = random.below(usedLength / PAGE);
        for (let slot = 0; slot < 32; slot++, page++) {
          if (random.oneIn(4)) page = random.below(usedLength / PAGE);
          if (page * PAGE === usedLength) page = 0;
          const offset = page * PAGE;
          const content = random.bytes(random.between(1, 300));
          if (random.oneIn(50)) {
            const ranges = [{ start: offset, length: PAGE }];
            const command = { kind: "discard", block: name, ranges } as const;
            pages.discard(command);
            model.command(command);
            named.delete(`${name} ${page}`);
            continue;
          }
          named.add(`${name} ${page}`);
          switch (random.below(4)) {
            case 0: {
              bytes.fill(slot, slot * PAGE, (slot + 1) * PAGE);
              bytes.set(content, slot * PAGE);
              pages.page(offset, bytes, slot * PAGE, buffer.address + slot * PAGE);
              model.page(offset, bytes, slot * PAGE);
              break;
            }
            case 1:
              pages.zeroPage(offset);
              model.zeroPage(offset);
              break;
            case 2: {
              const encoded = oneRun(random.between(0, 3000), content);
              pages.xbzrlePage(offset, encoded, 0, encoded.length);
              model.xbzrlePage(offset, encoded, 0, encoded.length);
              break;
            }
            default: {
              const whole = new Uint8Array(PAGE).fill(piece);
              whole.set(content);
              const deflated = deflateSync(whole);
              pages.compressedPage(offset, deflated, 0, deflated.length);
              model.compressedPage(offset, deflated, 0, deflated.length);
            }
          }
        }
        pages.flush(); // what lies in the buffer is replaced now
        // The threads start meanwhile.
        if (piece % 10 === 9) await new Promise((resolve) => setTimeout(resolve));
      }
      pages.settle();
      await threads.close();
      memory.writeTail(imageTail(DEVICES, undefined, PAGE));
      memory.seal();
      assertEquals(state.get(Counter.RECEIVED), named.size);
      using image = await openImage(path);
      assertImageMemory(image, model.blocks);
      assertEquals(image.deviceState, new Uint8Array(DEVICES));
      assertEquals(image.deviceSections, [{ name: "cpu", instance: 0, version: 3, size: 11 }]);
      assertEquals(image.counts!.reduce((sum, { data }) => sum + data, 0), state.get(Counter.DATA));
    }, () => {}));
}

Deno.test("ImageMemory counts what a source takes back, until it comes again", () =>
  withMemory((memory, state) => {
    const figures = () => [Counter.RECEIVED, Counter.MISSING].map((counter) => state.get(counter));
    memory.select("rom");
    for (let page = 0; page < 10; page++) memory.zeroPage(page * PAGE);
    const ranges = [{ start: 5 * PAGE, length: 20 * PAGE }, { start: 5 * PAGE, length: PAGE }];
    memory.discard({ kind: "discard", block: "rom", ranges });
    assertEquals(figures(), [5, 20]);
    memory.listen();
    for (let page = 0; page < 30; page++) memory.zeroPage(page * PAGE);
    assertEquals([...figures(), state.get(Counter.DUPLICATES)], [30, 0, 5]);
  }));

const BAD: readonly [string, (memory: ImageMemory) => void, string][] = [
  ["a page before any block", (memory) => memory.zeroPage(0), "Page before any RAM block"],
  ["an unknown block", (memory) => memory.select("vga"), "Page of an unknown RAM block: vga"],
  ["a page behind the end of its block", (memory) => {
    memory.select("rom");
    memory.zeroPage(33 * PAGE);
  }, "Page outside RAM block rom of 135168 bytes: at 135168"],
  ["a discard behind the end of a block", (memory) => {
    memory.discard({
      kind: "discard",
      block: "rom",
      ranges: [{ start: 32 * PAGE, length: 2 * PAGE }],
    });
  }, "Discard outside RAM block rom: 8192 bytes at 131072"],
  ["a discard of half a page", (memory) => {
    memory.discard({ kind: "discard", block: "rom", ranges: [{ start: 0, length: PAGE / 2 }] });
  }, "Discard outside RAM block rom: 2048 bytes at 0"],
  ["a difference after the switch", (memory) => {
    memory.listen();
    memory.select("rom");
    memory.xbzrlePage(0, Uint8Array.of(0, 1, 7), 0, 3);
  }, "Source sent an XBZRLE page after LISTEN"],
];
for (const [what, act, message] of BAD) {
  Deno.test(`ImageMemory refuses ${what}`, () =>
    withMemory((memory) => {
      const error = assertThrows(() => act(memory), MigrationError, message);
      assertEquals(error.code, "BAD_PEER");
    }));
}

Deno.test("ImageMemory has every page sent again when the disk has lost some", () =>
  withMemory((memory, state) => {
    using buffer = MappedMemory.anonymous(PAGE);
    memory.listen();
    memory.writeTail(imageTail(DEVICES, undefined, PAGE));
    memory.select("rom");
    memory.page(0, buffer.bytes(), 0, buffer.address);
    memory.zeroPage(PAGE);
    memory.startOver(undefined);
    const figures = [Counter.RECEIVED, Counter.DATA, Counter.MISSING].map((it) => state.get(it));
    assertEquals([figures, memory.whole], [[0, 0, 133], false]);
    memory.page(0, buffer.bytes(), 0, buffer.address);
    assertEquals([state.get(Counter.DUPLICATES), memory.missing], [0, 132]);
  }));
