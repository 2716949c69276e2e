/** Batches of page records: how many pages fit into one, and what comes out at the other end. */
import "../support/native.ts";
import { assert, assertEquals, assertLess } from "@std/assert";
import { OutputFile } from "../../ffi/file.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { IgnoreStream, StreamDecoder, StreamEncoder } from "../../migration/protocol/mod.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { PageRecords } from "../../server/sending/page_records.ts";
import { withDirectory } from "../image/captures.ts";

const PAGE = 4096;
const SECTION = 2;
const SECTION_PART = 2;
/** Most pages in a batch. */
const PAGES = 64;

/** What came, a line a page: its block, its place there, what it holds. */
class Arrived extends IgnoreStream {
  readonly pages: string[] = [];
  #block = "";

  override block(name: string): void {
    this.#block = name;
  }

  override page(offset: number, bytes: Uint8Array, at: number): void {
    this.pages.push(`${this.#block} ${offset} plain ${bytes[at]}`);
  }

  override zeroPage(offset: number, fill: number): void {
    this.pages.push(`${this.#block} ${offset} zero ${fill}`);
  }

  override compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    this.pages.push(`${this.#block} ${offset} compressed ${bytes[at]} of ${length}`);
  }
}

/** Three blocks whose names have that many bytes. */
function layoutOf(nameBytes: number): RamLayout {
  return new RamLayout(
    ["a", "b", "c"].map((letter) => ({ name: letter.repeat(nameBytes), usedLength: 4 * PAGE })),
  );
}

/** The stream up to the first section with pages. */
function opening({ blocks }: RamLayout): Uint8Array {
  const encoder = new StreamEncoder();
  encoder.header();
  encoder.configuration({ machine: "pc" });
  encoder.sectionStart(SECTION, "ram", 0, 4);
  encoder.blockList(blocks.length * 4 * PAGE);
  for (const { name, usedLength } of blocks) encoder.blockEntry({ name, usedLength });
  encoder.endOfSection();
  encoder.sectionFooter(SECTION);
  return encoder.take();
}

/** Sends a batch through a file, whose calls take it as a socket's would. */
function deliver({ gather, byteLength }: PageRecords, file: OutputFile): Uint8Array {
  let written = 0;
  while (!gather.empty) {
    const count = gather.writeTo(file.fd, written);
    assert(count > 0, `pwritev: ${count}`);
    written += count;
  }
  assertEquals(written, byteLength);
  const bytes = new Uint8Array(written);
  file.read(bytes, 0);
  return bytes;
}

const KINDS = ["plain", "zero", "compressed"] as const;

/**
 * Fills batches with pages of which each is of another block than the one before, so that every
 * record has a name, and compares what comes with what was put in.
 *
 * @returns pages in the largest batch
 */
function fillBatches(file: OutputFile, nameBytes: number, kind: typeof KINDS[number]): number {
  const layout = layoutOf(nameBytes);
  using memory = MappedMemory.anonymous(layout.pageLimit * PAGE);
  const { address, length } = memory;
  memory.bytes().fill(7);
  const pages = { imageAddress: address, imageLength: length, pageSize: PAGE };
  const locator = new PageLocator({ kind: "flat", ...pages, runs: [{ firstPage: 0, offset: 0 }] });
  using records = new PageRecords(layout, locator, PAGES);
  const arrived = new Arrived();
  const decoder = new StreamDecoder(arrived);
  decoder.feed(opening(layout));
  const sent: string[] = [];
  let most = 0;
  for (let batch = 0; batch < 3; batch++) {
    records.begin();
    records.openSection(SECTION_PART, SECTION);
    while (!records.full) {
      const { name, firstPage } = layout.blocks[sent.length % 3]!;
      const page = sent.length % 4;
      const what = {
        plain: "plain 7",
        zero: "zero 0",
        compressed: `compressed 7 of ${100 + page}`,
      };
      if (kind === "plain") records.add(firstPage + page);
      else if (kind === "zero") records.addZero(firstPage + page);
      else records.addCompressed(firstPage + page, address, 100 + page);
      sent.push(`${name} ${page * PAGE} ${what[kind]}`);
    }
    records.closeSection(SECTION);
    records.end();
    most = Math.max(most, records.length);
    decoder.feed(deliver(records, file));
  }
  assertEquals(arrived.pages, sent);
  return most;
}

for (const kind of KINDS) {
  Deno.test(`PageRecords is full before the names of ${kind} pages' blocks overflow it`, () =>
    withDirectory((directory) => {
      using file = OutputFile.create(`${directory}/batch`);
      // Every length of the heads, so that some batch ends at the very last byte.
      for (let nameBytes = 1; nameBytes <= 255; nameBytes++) fillBatches(file, nameBytes, kind);
      assertEquals(fillBatches(file, 2, kind), PAGES);
      assertLess(fillBatches(file, 255, kind), PAGES);
      return Promise.resolve();
    }));
}
