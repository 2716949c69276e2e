/** Writing a mapped-ram file page by page, in the order they come. */

import { Errno } from "../../ffi/errno.ts";
import { fileError, type OutputFile } from "../../ffi/file.ts";
import { Gather, MAX_PIECES } from "../../ffi/gather.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { bitmapFromWords } from "../../migration/protocol/bitmap_codec.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { MAGIC_BYTES, MappedRamLayout } from "./mapped_ram_layout.ts";

/**
 * Called when something cannot be written, mostly because the disk is full.
 *
 * @param error what the kernel said, and what to do
 * @returns true to try again, false to give up
 */
export type OnWriteError = (error: Error) => boolean;

/**
 * Writes a mapped-ram file. Pages are gathered while they follow one another in the file and written
 * with one call, from where they lie. Until {@linkcode MappedRamWriter.seal} the file lacks its magic,
 * so that nobody takes a part for the whole: a page that is missing would be read as zeros.
 */
export class MappedRamWriter {
  /** Where everything lies. */
  readonly layout: MappedRamLayout;
  readonly #file: OutputFile;
  readonly #onError: OnWriteError;
  readonly #pageSize: number;
  readonly #run = new Gather(MAX_PIECES);
  // The run goes here, and the page that would follow it there.
  #runStart = 0;
  #runEnd = -1;
  #written = 0;

  /**
   * Writes what is known before the first page.
   *
   * @param file new and empty; stays the caller's
   * @param machine whose memory it is
   * @param onError called when something cannot be written; by default it is not tried again
   * @throws {SyscallError} from pwrite, for example `ENOSPC`
   * @throws {RamLayoutError} when the blocks cannot be
   */
  constructor(file: OutputFile, machine: StreamMachine, onError: OnWriteError = () => false) {
    this.layout = new MappedRamLayout(machine);
    this.#file = file;
    this.#onError = onError;
    this.#pageSize = machine.targetPageSize;
    for (const [index, { offset, bytes }] of this.layout.pieces.entries()) {
      const hidden = index === 0 ? MAGIC_BYTES : 0;
      this.#writeAll(bytes.subarray(hidden), offset + hidden);
    }
  }

  /** Bytes of pages written. */
  get written(): number {
    return this.#written;
  }

  /**
   * Writes a page, together with those that follow it.
   *
   * @param block index of its block
   * @param offset bytes from the block's start
   * @param address of its first byte: it stays as it is until {@linkcode MappedRamWriter.flush}
   * @throws {SyscallError} from pwritev
   */
  page(block: number, offset: number, address: number): void {
    const to = this.layout.regions[block]!.pagesOffset + offset;
    if (to !== this.#runEnd || this.#run.full) {
      this.flush();
      this.#runStart = to;
      this.#runEnd = to;
    }
    this.#run.add(address, this.#pageSize);
    this.#runEnd += this.#pageSize;
  }

  /** Writes the pages gathered so far. */
  flush(): void {
    const run = this.#run;
    if (run.count === 0) return;
    let to = this.#runStart;
    while (!run.empty) {
      const written = run.writeTo(this.#file.fd, to);
      if (written >= 0) to += written;
      else this.#failed("pwritev", -written);
    }
    this.#written += to - this.#runStart;
    run.clear();
    this.#runEnd = -1;
  }

  /**
   * Reads back what was written of a page; zeros where nothing was.
   *
   * @param into one page
   */
  read(block: number, offset: number, into: Uint8Array<ArrayBuffer>): void {
    this.flush();
    this.#file.read(into, this.layout.regions[block]!.pagesOffset + offset);
  }

  /**
   * Writes what follows the memory, up to the end of the file.
   *
   * @param tail device sections, EOF and description
   */
  writeTail(tail: Uint8Array<ArrayBuffer>): void {
    this.#writeAll(tail, this.layout.tailOffset);
  }

  /**
   * Writes which pages have content, and makes the file one that can be read. What was written is on
   * the disk when this returns.
   *
   * @param content a bit for each page whose content was written; the others are zero
   * @throws {SyscallError} from fsync: the disk did not take what it was given
   */
  seal(content: PageBitmap): void {
    this.flush();
    const words = new Uint32Array(content.buffer);
    for (const [index, { firstPage, pageCount }] of this.layout.ram.blocks.entries()) {
      const bits = bitmapFromWords(words, pageCount, firstPage / 32);
      this.#writeAll(bits, this.layout.regions[index]!.bitmapOffset);
    }
    this.sync();
    this.#writeAll(this.layout.pieces[0]!.bytes.subarray(0, MAGIC_BYTES), 0);
    this.sync();
  }

  /**
   * Waits until all that was written is on the disk.
   *
   * @throws {SyscallError} from fsync
   */
  sync(): void {
    this.flush();
    let code = this.#file.sync();
    while (code === Errno.EINTR) code = this.#file.sync();
    // No second try: fsync reports what is lost only once.
    if (code !== 0) throw fileError("fsync", code, this.#file.path);
  }

  #writeAll(bytes: Uint8Array<ArrayBuffer>, offset: number): void {
    let done = 0;
    while (done < bytes.length) {
      const written = this.#file.write(bytes.subarray(done), offset + done);
      if (written >= 0) done += written;
      else this.#failed("pwrite", -written);
    }
  }

  /** Returns when another try is worth it. */
  #failed(syscall: string, code: number): void {
    if (code === Errno.EINTR) return;
    const error = fileError(syscall, code, this.#file.path);
    if (!this.#onError(error)) throw error;
  }
}
