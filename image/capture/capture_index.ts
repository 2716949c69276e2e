/** The index of a captured stream: found beside it, or made. */

import { survivingFileLimit } from "../../ffi/file_limit.ts";
import { MappedFile } from "../../ffi/mapped_file.ts";
import type { MappedMemory } from "../../ffi/memory.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { DEFAULT_TARGET_PAGE_SIZE } from "../../migration/protocol/mod.ts";
import { decodeContents, encodeContents, type IndexedContents } from "./index_contents.ts";
import { CaptureHandler, type PageIndex } from "./capture_handler.ts";
import { type ScanOptions, scanStream } from "../stream/stream_scan.ts";
import { streamName, type StreamPlace } from "../stream/stream_place.ts";
import {
  type FileStamp,
  readersOf,
  requireUnchanged,
  sameStamp,
  stampFile,
} from "../file_stamp.ts";
import type { IndexReport } from "../image.ts";
import {
  checkIndex,
  checksum,
  copyTable,
  encodeIndexHeader,
  identifyImage,
  type ImageIdentity,
  INDEX_HEADER_BYTES,
  type IndexHeader,
  pagesOffset,
  sumsOffset,
  writeSparse,
} from "./index_file.ts";
import {
  type IndexStorage,
  IndexStorageError,
  MemoryStorage,
  openIndexStorage,
} from "./index_storage.ts";
import { PageTable } from "./page_table.ts";
import { ReconstructedPages } from "./reconstructed_pages.ts";
import { storedFile } from "../../pages/stored_file.ts";
import { type ReconstructedRange, SUM_BYTES } from "../../pages/table_pages.ts";

/** An index in memory, as mapped. */
export interface CaptureIndex {
  /** All of it; whoever gets this closes it. */
  readonly memory: MappedMemory;
  /** A copy of its table; whoever gets this closes it. */
  readonly table: MappedMemory;
  /** The pages in it. */
  readonly reconstructed: ReconstructedRange;
  /** What it says of the image. */
  readonly contents: IndexedContents;
  /** The blocks with their pages numbered. */
  readonly layout: RamLayout;
  /** How it came to be. */
  readonly report: IndexReport;
}

/**
 * Opens the index of a captured stream; makes it when there is none that fits.
 *
 * @param path the image's name
 * @param image all of it
 * @param stamp of the image
 * @param place of the stream in it
 * @throws {ImageError} when the image cannot be served
 */
export async function openCaptureIndex(
  path: string,
  image: MappedMemory,
  stamp: FileStamp,
  place: StreamPlace,
  options: ScanOptions,
): Promise<CaptureIndex> {
  const identity = identifyImage(image, stamp.modified, place.offset);
  const target = `${streamName(path, place.offset, place.libvirt)}.postcopy-index`;
  const found = await findIndex(target, identity);
  if (typeof found !== "string") return found;
  return await buildIndex(path, image, stamp, identity, target, found, options);
}

/** Returns the index, or why there is none that can be used (empty when there is none at all). */
async function findIndex(path: string, image: ImageIdentity): Promise<CaptureIndex | string> {
  let memory: MappedMemory;
  try {
    // An index is never written under its name, only put there: what is mapped is whole when the name
    // still means the same file.
    const stamp = await stampFile(path);
    if (stamp.size < INDEX_HEADER_BYTES) return "it is shorter than its header";
    memory = MappedFile.open(path, stamp.size);
    if (!sameStamp(stamp, await stampFile(path))) {
      memory.close();
      return "it was replaced while it was opened";
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    return error instanceof Error ? error.message : `${error}`;
  }
  let index: CaptureIndex | string;
  try {
    index = useIndex(path, memory, image);
  } catch (error) {
    index = error instanceof Error ? error.message : `${error}`; // its disk fails: it is made anew
  }
  if (typeof index === "string") memory.close();
  return index;
}

function useIndex(path: string, memory: MappedMemory, image: ImageIdentity): CaptureIndex | string {
  const checked = checkIndex(memory, image);
  if (typeof checked === "string") return checked;
  const { header, table } = checked;
  const contents = decodeContents(checked.contents);
  const layout = new RamLayout(contents.blocks, header.pageSize);
  const { earlySections, deviceState } = contents;
  const inside = [earlySections, deviceState].every(({ offset, length }) =>
    offset >= 0 && length >= 0 && offset + length <= image.size
  );
  if (layout.pageLimit !== header.pageLimit || !inside) {
    table.close();
    return "its contents do not fit its table";
  }
  const report: IndexReport = { state: "reused", path };
  const reconstructed = rangeOf(path, memory, header);
  return { memory, table, reconstructed, contents, layout, report };
}

function rangeOf(path: string, memory: MappedMemory, header: IndexHeader): ReconstructedRange {
  const { pagesOffset, pagesCount, pageSize } = header;
  const { address } = memory;
  const remedy = "remove that file, it is made anew when the image is opened";
  const file = storedFile(memory, remedy);
  const place = { pagesOffset, pagesCount, pageSize, sumsOffset: sumsOffset(header) };
  return { path, file: file && { ...file, path }, address, ...place };
}

async function buildIndex(
  path: string,
  image: MappedMemory,
  stamp: FileStamp,
  identity: ImageIdentity,
  target: string,
  notReused: string,
  options: ScanOptions,
): Promise<CaptureIndex> {
  using _limit = survivingFileLimit();
  const build = async (storage: IndexStorage): Promise<CaptureIndex> => {
    using built = new IndexBuilder(image, storage);
    const openHandler = () => new CaptureHandler(path, (layout) => built.openPageIndex(layout));
    const start = identity.streamOffset;
    const scanned = await scanStream(path, image, start, openHandler, options);
    await requireUnchanged(path, stamp);
    const contents = { ...scanned, counts: built.table.counts() };
    const { memory, reason, header } = await built.finish(identity, contents);
    const why = reason ?? (notReused === "" ? undefined : notReused);
    return {
      memory,
      table: copyTable(memory, header.pageLimit),
      reconstructed: rangeOf(target, memory, header),
      contents,
      layout: built.layout,
      report: {
        state: reason === undefined ? "built" : "temporary",
        path: target,
        ...(why === undefined ? {} : { reason: why }),
      },
    };
  };
  try {
    return await build(await openIndexStorage(target, await readersOf(path)));
  } catch (error) {
    if (!(error instanceof IndexStorageError)) throw error;
    // Pages that were reconstructed may be lost with the file: they are made anew.
    return await build(new MemoryStorage(error.message));
  }
}

/** An index that is mapped, with its header, and why it could not be kept as a file. */
interface FinishedIndex {
  readonly memory: MappedMemory;
  readonly reason?: string;
  readonly header: IndexHeader;
}

/** Puts the parts of an index into its storage. */
class IndexBuilder implements Disposable {
  readonly #image: MappedMemory;
  #storage: IndexStorage;
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
    this.#storage.reserve(this.#limit(layout));
    const table = new PageTable(layout);
    const reconstructed = new ReconstructedPages(
      this.#image,
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

  /** Contents are a few KiB; 16 MiB of addresses cost nothing. */
  #limit(layout: RamLayout): number {
    const pageBytes = layout.targetPageSize + SUM_BYTES;
    return pagesOffset(layout.pageLimit) + layout.pageCount * pageBytes + 2 ** 24;
  }

  /**
   * Writes what is left, and maps the index.
   *
   * @throws {IndexStorageError} when reconstructed pages are lost with the storage
   */
  async finish(identity: ImageIdentity, indexed: IndexedContents): Promise<FinishedIndex> {
    try {
      return await this.#finish(identity, indexed);
    } catch (error) {
      if (!(error instanceof IndexStorageError) || this.#reconstructed!.count > 0) throw error;
      // All of it is still at hand: no need to read the image again.
      this.#storage[Symbol.dispose]();
      this.#storage = new MemoryStorage(error.message);
      this.#storage.reserve(this.#limit(this.layout));
      return await this.#finish(identity, indexed);
    }
  }

  async #finish(identity: ImageIdentity, indexed: IndexedContents): Promise<FinishedIndex> {
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
