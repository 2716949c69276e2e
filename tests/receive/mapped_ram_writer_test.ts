import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { OutputFile } from "../../ffi/file.ts";
import { cString, libc } from "../../ffi/libc.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { MappedRamLayout } from "../../image/mapped_ram/mapped_ram_layout.ts";
import { MappedRamWriter } from "../../image/mapped_ram/mapped_ram_writer.ts";
import { hasPartialMark, markedMethod, partialMark } from "../../image/mapped_ram/partial_mark.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import {
  type BlockEntry,
  type Configuration,
  IgnoreStream,
  StreamDecoder,
} from "../../migration/protocol/mod.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { withDirectory } from "../image/captures.ts";
import { findRecording } from "../../tools/recordings.ts";
import { readRecording } from "../support/fixtures.ts";
import { MAPPED_CAPTURES } from "../support/recorded.ts";
import { PowerCut } from "../support/power_cut.ts";
import { needsRecording, testUnless } from "../support/skip.ts";

const PAGE = 4096;
/** From include/uapi/asm-generic/errno-base.h: what a broken disk gives. */
const EIO = 5;
const { path: RECORDING } = MAPPED_CAPTURES.find(({ path }) => findRecording(path) !== undefined) ??
  MAPPED_CAPTURES[0]!;

/** What a mapped-ram file says about its machine. */
class FileReader extends IgnoreStream {
  machine: Configuration = { machine: "" };
  section = { id: 0, instance: 0, version: 0 };
  readonly blocks: BlockEntry[] = [];

  override configuration(configuration: Configuration): void {
    this.machine = configuration;
  }

  override sectionStart(id: number, _name: string, instance: number, version: number): void {
    this.section = { id, instance, version };
  }

  override blockEntry(entry: BlockEntry): void {
    this.blocks.push(entry);
  }
}

function read(file: Uint8Array): FileReader {
  const reader = new FileReader();
  new StreamDecoder(reader).feed(file);
  return reader;
}

function machineOf({ machine, section, blocks }: FileReader): StreamMachine {
  const { capabilities: _, ...configuration } = machine;
  return {
    configuration,
    ramSection: section,
    targetPageSize: PAGE,
    blocks: blocks.map(({ name, usedLength }) => ({ name, usedLength })),
  };
}

function assertSame(found: Uint8Array, wanted: Uint8Array, what: string): void {
  if (Buffer.compare(found, wanted) !== 0) throw new Error(`Bytes differ: ${what}`);
}

testUnless(
  needsRecording(RECORDING),
  "MappedRamLayout puts everything where QEMU 11.1 does",
  () => {
    const file = readRecording(RECORDING);
    const reader = read(file);
    const { pieces, regions } = new MappedRamLayout(machineOf(reader));
    assertEquals(
      regions,
      reader.blocks.map(({ mapped }) => ({
        bitmapOffset: mapped!.bitmapOffset,
        pagesOffset: mapped!.pagesOffset,
      })),
    );
    // Behind the last block QEMU has the empty sections of its rounds, which nobody needs.
    for (const [index, { offset, bytes }] of pieces.slice(0, -1).entries()) {
      assertSame(bytes, file.subarray(offset, offset + bytes.length), `piece ${index}`);
    }
  },
);

testUnless(
  needsRecording(RECORDING),
  "MappedRamWriter writes the bitmaps and pages that QEMU 11.1 wrote",
  () =>
    withDirectory(async (directory) => {
      const file = readRecording(RECORDING);
      const reader = read(file);
      using output = OutputFile.create(`${directory}/image`);
      const writer = new MappedRamWriter(output, machineOf(reader));
      const { ram, regions } = writer.layout;
      const content = new PageBitmap(ram.pageLimit);
      using memory = MappedMemory.anonymous(file.length);
      memory.bytes().set(file);
      for (const [index, { firstPage, pageCount }] of ram.blocks.entries()) {
        const { bitmapOffset, pagesOffset } = regions[index]!;
        for (let page = 0; page < pageCount; page++) {
          if ((file[bitmapOffset + (page >>> 3)]! & (1 << (page & 7))) === 0) continue;
          content.add(firstPage + page);
          writer.page(index, page * PAGE, memory.address + pagesOffset + page * PAGE);
        }
      }
      writer.seal(content);
      const written = await Deno.readFile(output.path);
      for (const [index, { name, usedLength }] of ram.blocks.entries()) {
        const { bitmapOffset, pagesOffset } = regions[index]!;
        const end = pagesOffset + usedLength;
        assertSame(
          written.subarray(bitmapOffset, end),
          file.subarray(bitmapOffset, end),
          name,
        );
      }
      assertSame(written.subarray(0, 8), file.subarray(0, 8), "magic");
    }),
);

const MACHINE: StreamMachine = {
  configuration: { machine: "pc" },
  ramSection: { id: 2, instance: 0, version: 4 },
  targetPageSize: PAGE,
  blocks: [{ name: "ram", usedLength: 3000 * PAGE }, { name: "rom", usedLength: PAGE }],
};

Deno.test("MappedRamLayout does not keep how large the source's host pages are", () => {
  const [ram, rom] = MACHINE.blocks;
  const huge = { ...MACHINE, blocks: [{ ...ram!, pageSize: 2 << 20 }, rom!] };
  assertEquals(new MappedRamLayout(huge).pieces, new MappedRamLayout(MACHINE).pieces);
});

Deno.test("MappedRamWriter writes runs longer than one call takes, and in any order", () =>
  withDirectory(async (directory) => {
    using output = OutputFile.create(`${directory}/image`);
    const writer = new MappedRamWriter(output, MACHINE);
    using memory = MappedMemory.anonymous(3000 * PAGE);
    const words = new Int32Array(memory.bytes().buffer);
    for (let word = 0; word < words.length; word++) words[word] = Math.imul(word, 0x9e37_79b1);
    const put = (page: number) => writer.page(0, page * PAGE, memory.address + page * PAGE);
    for (let page = 500; page < 3000; page++) put(page);
    for (let page = 499; page >= 0; page--) put(page);
    const content = new PageBitmap(writer.layout.ram.pageLimit);
    content.fill(0, 3000);
    writer.seal(content);
    const written = await Deno.readFile(output.path);
    const { pagesOffset } = writer.layout.regions[0]!;
    assertSame(written.subarray(pagesOffset, pagesOffset + 3000 * PAGE), memory.bytes(), "ram");
    assertEquals(writer.written, 3000 * PAGE);
  }));

Deno.test("MappedRamWriter reads back what it has not written yet, and zeros where nothing is", () =>
  withDirectory((directory) => {
    using output = OutputFile.create(`${directory}/image`);
    const writer = new MappedRamWriter(output, MACHINE);
    using memory = MappedMemory.anonymous(PAGE);
    memory.bytes().fill(7);
    writer.page(0, 5 * PAGE, memory.address);
    const page = new Uint8Array(PAGE).fill(1);
    writer.read(0, 5 * PAGE, page);
    assertEquals(page, new Uint8Array(PAGE).fill(7));
    writer.read(1, 0, page);
    assertEquals(page, new Uint8Array(PAGE));
    return Promise.resolve();
  }));

/** Calls `before` before each write through the file itself, and `after` after each sync. */
function watch(
  file: OutputFile,
  before: (bytes: Uint8Array, offset: number) => void,
  after: () => void,
): void {
  const write = file.write.bind(file);
  const sync = file.sync.bind(file);
  file.write = (bytes, offset) => {
    before(bytes, offset);
    return write(bytes, offset);
  };
  file.sync = () => {
    const code = sync();
    if (code === 0) after();
    return code;
  };
}

Deno.test("MappedRamWriter.seal writes the magic only when all else is on the disk", () =>
  withDirectory((directory) => {
    using output = OutputFile.create(`${directory}/image`);
    const content = () => Deno.readFileSync(output.path);
    const cut = new PowerCut();
    let magics = 0;
    watch(output, (_bytes, offset) => {
      if (offset >= 8) return;
      magics++;
      assertEquals(content().subarray(0, 8), new Uint8Array(8));
      cut.assertAllSynced(content(), "the write of the magic");
    }, () => cut.synced(content()));
    const writer = new MappedRamWriter(output, MACHINE);
    using memory = MappedMemory.anonymous(3 * PAGE);
    memory.bytes().fill(7);
    for (const page of [0, 1, 9]) writer.page(0, page * PAGE, memory.address);
    writer.writeTail(new Uint8Array(100).fill(3));
    const pages = new PageBitmap(writer.layout.ram.pageLimit);
    for (const page of [0, 1, 9]) pages.add(page);
    writer.seal(pages);
    assertEquals(magics, 1);
    assertSame(content().subarray(0, 8), writer.layout.pieces[0]!.bytes.subarray(0, 8), "magic");
    cut.assertAllSynced(content(), "the return of seal");
    return Promise.resolve();
  }));

Deno.test("MappedRamWriter.seal writes no magic when the disk did not take what came before", () =>
  withDirectory((directory) => {
    using output = OutputFile.create(`${directory}/image`);
    const writer = new MappedRamWriter(output, MACHINE);
    output.sync = () => EIO;
    const pages = new PageBitmap(writer.layout.ram.pageLimit);
    assertThrows(() => writer.seal(pages), SyscallError, "fsync failed with EIO: ");
    assertEquals(Deno.readFileSync(output.path).subarray(0, 8), new Uint8Array(8));
    return Promise.resolve();
  }));

Deno.test("MappedRamWriter asks what to do when nothing can be written", () => {
  const asked: string[] = [];
  const fd = libc().open(cString("/dev/full"), 1, 0);
  using _opened = { [Symbol.dispose]: () => void libc().close(fd) };
  using full = OutputFile.borrow("/dev/full", fd);
  assertThrows(
    () => {
      const writer = new MappedRamWriter(full, MACHINE, (error) => asked.push(error.message) < 3);
      while (writer.holdsBack) writer.retry();
    },
    SyscallError,
    "pwrite failed with ENOSPC: /dev/full: make room on that disk",
  );
  assertEquals(asked.length, 3);
});

Deno.test("MappedRamWriter.mark has the tail in the file before the mark, and startOver takes the magic away", () =>
  withDirectory((directory) => {
    using output = OutputFile.create(`${directory}/image`);
    const head = () => Deno.readFileSync(output.path).subarray(0, 8);
    const writer = new MappedRamWriter(output, MACHINE);
    const tail = new Uint8Array(100).fill(3);
    writer.writeTail(tail);
    const mark = partialMark("zstd");
    const order: number[] = [];
    const openDurable = output.openDurable.bind(output);
    output.openDurable = () => {
      const durable = openDurable();
      watch(durable, (_bytes, offset) => void order.push(offset), () => {});
      return durable;
    };
    assertEquals(writer.mark(mark), true);
    assertEquals([order.at(-2), order.at(-1)], [writer.layout.tailOffset, 0]);
    assertEquals([hasPartialMark(head()), markedMethod(head())], [true, "zstd"]);
    const pages = new PageBitmap(writer.layout.ram.pageLimit);
    writer.seal(pages);
    assertEquals(hasPartialMark(head()), false);
    writer.startOver(mark); // as when the disk lost a page
    assertEquals(head(), mark);
    order.length = 0;
    assertEquals([writer.mark(mark), order.at(-1)], [true, 0]);
    writer.seal(pages);
    assertSame(head(), writer.layout.pieces[0]!.bytes.subarray(0, 8), "magic");
    return Promise.resolve();
  }));
