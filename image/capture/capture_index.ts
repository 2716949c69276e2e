/** The index of a captured stream: found beside it, or made. */

import { MappedMemory } from "../../ffi/memory.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { DEFAULT_TARGET_PAGE_SIZE } from "../../migration/protocol/mod.ts";
import { decodeContents, encodeContents, type IndexedContents } from "./index_contents.ts";
import { CaptureHandler, type PageIndex } from "./capture_handler.ts";
import { type ScanOptions, scanStream } from "../stream/stream_scan.ts";
import { type FileStamp, requireUnchanged, sameStamp, stampFile } from "../file_stamp.ts";
import type { IndexReport } from "../image.ts";
import {
  checkIndex,
  checksum,
  encodeIndexHeader,
  identifyImage,
  type ImageIdentity,
  INDEX_HEADER_BYTES,
  type IndexHeader,
  pagesOffset,
  sumsOffset,
  writeSparse,
} from "./index_file.ts";
import { type IndexStorage, openIndexStorage } from "./index_storage.ts";
import { PageTable } from "./page_table.ts";
import { ReconstructedPages } from "./reconstructed_pages.ts";
import { type ReconstructedRange, SUM_BYTES } from "../../pages/table_pages.ts";

/** An index in memory, as mapped. */
export interface CaptureIndex {
  /** All of it; whoever gets this closes it. */
  readonly memory: MappedMemory;
  /** Offset of the table in it, in bytes. */
  readonly tableOffset: number;
  /** The pages in it. */
  readonly reconstructed: ReconstructedRange;
  /** What it says of the image. */
  readonly contents: IndexedContents;
  /** The blocks with their pages numbered. */
  readonly layout: RamLayout;
  /** How it came to be. */
  readonly report: IndexReport;
}

/** The name of an image's index. */
function indexPath(path: string): string {
  return `${path}.postcopy-index`;
}

/**
 * Opens the index of a captured stream; makes it when there is none that fits.
 *
 * @param path the image's name
 * @param image all of it
 * @param stamp of the image
 * @throws {ImageError} when the image cannot be served
 */
export async function openCaptureIndex(
  path: string,
  image: MappedMemory,
  stamp: FileStamp,
  options: ScanOptions,
): Promise<CaptureIndex> {
  const identity = identifyImage(image.bytes(), stamp.modified);
  const found = await findIndex(indexPath(path), identity);
  if (typeof found !== "string") return found;
  return await buildIndex(path, image, stamp, identity, found, options);
}

/** Returns the index, or why there is none that can be used (empty when there is none at all). */
async function findIndex(path: string, image: ImageIdentity): Promise<CaptureIndex | string> {
  let memory: MappedMemory;
  try {
    // An index is never written under its name, only put there: what is mapped is whole when the name
    // still means the same file.
    const stamp = await stampFile(path);
    if (stamp.size < INDEX_HEADER_BYTES) return "it is shorter than its header";
    memory = MappedMemory.file(path, stamp.size);
    if (!sameStamp(stamp, await stampFile(path))) {
      memory.close();
      return "it was replaced while it was opened";
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    return error instanceof Error ? error.message : `${error}`;
  }
  const index = useIndex(path, memory, image);
  if (typeof index === "string") memory.close();
  return index;
}

function useIndex(path: string, memory: MappedMemory, image: ImageIdentity): CaptureIndex | string {
  const header = checkIndex(memory.bytes(), image);
  if (typeof header === "string") return header;
  const contents = decodeContents(memory.bytes(header.contentsOffset, header.contentsLength));
  const layout = new RamLayout(contents.blocks, header.pageSize);
  const { earlySections, deviceState } = contents;
  const inside = [earlySections, deviceState].every(({ offset, length }) =>
    offset >= 0 && length >= 0 && offset + length <= image.size
  );
  if (layout.pageLimit !== header.pageLimit || !inside) return "its contents do not fit its table";
  const report: IndexReport = { state: "reused", path };
  const reconstructed = rangeOf(path, memory, header);
  return { memory, tableOffset: INDEX_HEADER_BYTES, reconstructed, contents, layout, report };
}

function rangeOf(path: string, memory: MappedMemory, header: IndexHeader): ReconstructedRange {
  const { pagesOffset, pagesCount, pageSize } = header;
  const { address } = memory;
  return { path, address, pagesOffset, pagesCount, pageSize, sumsOffset: sumsOffset(header) };
}

/** Who may read an image may read its index, and nobody else: it holds pages of the guest's memory. */
async function readersOf(path: string): Promise<number> {
  return ((await Deno.stat(path)).mode ?? 0o600) & 0o666;
}

async function buildIndex(
  path: string,
  image: MappedMemory,
  stamp: FileStamp,
  identity: ImageIdentity,
  notReused: string,
  options: ScanOptions,
): Promise<CaptureIndex> {
  const target = indexPath(path);
  using built = new IndexBuilder(image, await openIndexStorage(target, await readersOf(path)));
  const openHandler = () => new CaptureHandler(path, (layout) => built.openPageIndex(layout));
  const scanned = await scanStream(path, image, openHandler, options);
  await requireUnchanged(path, stamp);
  const contents = { ...scanned, counts: built.table.counts() };
  const { memory, reason, header } = await built.finish(identity, contents);
  const why = reason ?? (notReused === "" ? undefined : notReused);
  return {
    memory,
    tableOffset: INDEX_HEADER_BYTES,
    reconstructed: rangeOf(target, memory, header),
    contents,
    layout: built.layout,
    report: {
      state: reason === undefined ? "built" : "temporary",
      path: target,
      ...(why === undefined ? {} : { reason: why }),
    },
  };
}

/** Puts the parts of an index into its storage. */
class IndexBuilder implements Disposable {
  readonly #image: MappedMemory;
  readonly #storage: IndexStorage;
  #layout: RamLayout | undefined;
  #table: PageTable | undefined;
  #reconstructed: ReconstructedPages | undefined;

  constructor(image: MappedMemory, storage: IndexStorage) {
    this.#image = image;
    this.#storage = storage;
  }

  get layout(): RamLayout {
    return this.#layout!;
  }

  get table(): PageTable {
    return this.#table!;
  }

  openPageIndex(layout: RamLayout): PageIndex {
    const start = pagesOffset(layout.pageLimit);
    // Contents are a few KiB; a megabyte of addresses costs nothing.
    const pageBytes = layout.targetPageSize + SUM_BYTES;
    this.#storage.reserve(start + layout.pageCount * pageBytes + 2 ** 24);
    const table = new PageTable(layout);
    const reconstructed = new ReconstructedPages(
      this.#image.bytes(),
      this.#storage,
      table,
      start,
      layout.targetPageSize,
    );
    this.#layout = layout;
    this.#table = table;
    this.#reconstructed = reconstructed;
    return { table, reconstructed };
  }

  async finish(
    identity: ImageIdentity,
    indexed: IndexedContents,
  ): Promise<{ memory: MappedMemory; reason?: string; header: IndexHeader }> {
    const storage = this.#storage;
    const { words } = this.table;
    const contents = encodeContents(indexed);
    const { count: pagesCount, sums } = this.#reconstructed!;
    const pages = {
      pageSize: DEFAULT_TARGET_PAGE_SIZE,
      pagesOffset: pagesOffset(this.layout.pageLimit),
      pagesCount,
    };
    const contentsOffset = sumsOffset(pages) + sums.length;
    const header = {
      ...identity,
      ...pages,
      pageLimit: this.layout.pageLimit,
      tableSum: checksum(new Uint8Array(words.buffer)),
      sumsSum: checksum(sums),
      contentsOffset,
      contentsLength: contents.length,
      contentsSum: checksum(contents),
    };
    storage.write(0, encodeIndexHeader(header));
    writeSparse(words, (at, bytes) => storage.write(INDEX_HEADER_BYTES + at, bytes));
    storage.write(sumsOffset(pages), sums);
    storage.write(contentsOffset, contents);
    return { ...await storage.finish(contentsOffset + contents.length), header };
  }

  [Symbol.dispose](): void {
    this.#table?.close();
    this.#storage[Symbol.dispose]();
  }
}
