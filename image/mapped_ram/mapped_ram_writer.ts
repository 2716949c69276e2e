/** Writing a mapped-ram file page by page, in the order they come. */

import { Errno } from "../../ffi/errno.ts";
import { fileError, type OutputFile } from "../../ffi/file.ts";
import { Gather, MAX_PIECES } from "../../ffi/gather.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { bitmapFromWords } from "../../migration/protocol/bitmap_codec.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { HeldWrites } from "./held_writes.ts";
import { MAGIC_BYTES, MappedRamLayout } from "./mapped_ram_layout.ts";

/**
 * Called when something cannot be written, mostly because the disk is full.
 *
 * @param error what the kernel said, and what to do
 * @returns true to hold it back, for another try by {@linkcode MappedRamWriter.retry}; false to give up
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
  readonly #held: HeldWrites;
  // The run goes here, and the page that would follow it there.
  #runStart = 0;
  #runEnd = -1;
  #written = 0;
  /** The call that failed, for messages, while something is held back. */
  #failedCall = "pwrite";
  /** What of the seal has been written. */
  #sealed: "nothing" | "bitmaps" | "magic" = "nothing";
  /** What follows the memory, once it is known. */
  #tail: Uint8Array<ArrayBuffer> | undefined;
  #marked = false;

  /**
   * Writes what is known before the first page, and waits until that is on the disk: without it a guest
   * whose switch is cut short cannot be handed back.
   *
   * @param file new and empty, or taken up with the tail that it has; stays the caller's
   * @param machine whose memory it is
   * @param onError called when something cannot be written; by default it is given up
   * @param beside whether another writes all but pages: then this one's are pages alone
   * @throws {SyscallError} from pwrite, for example `ENOSPC`
   * @throws {RamLayoutError} when the blocks cannot be
   */
  constructor(
    file: OutputFile,
    machine: StreamMachine,
    onError: OnWriteError = () => false,
    tail?: Uint8Array<ArrayBuffer>,
    beside = false,
  ) {
    this.layout = new MappedRamLayout(machine);
    this.#file = file;
    this.#onError = onError;
    this.#held = new HeldWrites(file);
    this.#pageSize = machine.targetPageSize;
    this.#tail = tail;
    this.#marked = tail !== undefined;
    if (tail !== undefined || beside) return;
    this.#writeFrame();
    if (!this.#held.any) this.sync(); // no page is in the file yet: this waits for a few blocks
  }

  /** Bytes of pages written, or held back to be. */
  get written(): number {
    return this.#written;
  }

  /** Whether something is held back. What is given meanwhile is copied and waits behind it. */
  get holdsBack(): boolean {
    return this.#held.any;
  }

  /**
   * Tries to write what is held back.
   *
   * @throws {SyscallError} from pwrite, where it is given up now
   */
  retry(): void {
    const code = this.#held.write();
    if (code !== 0) this.#mustHold(this.#failedCall, code);
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
    while (!run.empty && !this.#held.any) {
      const written = run.writeTo(this.#file.fd, to);
      if (written >= 0) to += written;
      else if (this.#mustHold("pwritev", -written)) break;
    }
    if (!run.empty) this.#held.add(run.copyRest(), to);
    this.#written += this.#runEnd - this.#runStart;
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
    this.#tail = tail;
    this.#writeAll(tail, this.layout.tailOffset);
  }

  /**
   * Makes the file one that another receiver can take up: all but the pages is on the disk when this returns
   * true, and what says so. The pages need not be: whoever takes it up has them sent again.
   *
   * @param mark from `partialMark`
   * @returns false when something is held back: then it is to be called again
   * @throws {SyscallError} what cannot be written, where it is given up
   */
  mark(mark: Uint8Array<ArrayBuffer>): boolean {
    if (this.#marked) return true;
    this.flush();
    if (this.#held.any) return false;
    using durable = this.#file.openDurable();
    this.#writeFrame(durable);
    this.#writeAll(this.#tail!, this.layout.tailOffset, durable);
    this.#writeAll(mark, 0, durable);
    this.#marked = !this.#held.any;
    return this.#marked;
  }

  /**
   * No page counts as written any more, for the disk has lost some: all of them are to come again, and the
   * file is to be marked again.
   *
   * @param mark from `partialMark`
   */
  startOver(mark: Uint8Array<ArrayBuffer>): void {
    this.flush();
    this.#writeAll(mark, 0); // at once: the magic may be there
    this.#marked = false;
    this.#sealed = "nothing";
  }

  /**
   * Writes which pages have content, and makes the file one that can be read. What was written is on
   * the disk when this returns true.
   *
   * @param content a bit for each page whose content was written; the others are zero
   * @returns false when something is held back: then the next call goes on where this one stopped
   * @throws {SyscallError} from fsync: the disk did not take what it was given
   */
  seal(content: PageBitmap): boolean {
    this.flush();
    if (this.#sealed === "nothing") {
      this.#writeBitmaps(content);
      this.#sealed = "bitmaps";
    }
    if (this.#held.any) return false;
    this.sync();
    if (this.#sealed === "bitmaps") {
      this.#writeAll(this.layout.pieces[0]!.bytes.subarray(0, MAGIC_BYTES), 0);
      this.#sealed = "magic";
      if (this.#held.any) return false;
      this.sync();
    }
    this.#sealed = "nothing";
    return true;
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

  #writeBitmaps(content: PageBitmap): void {
    const words = new Uint32Array(content.buffer);
    for (const [index, { firstPage, pageCount }] of this.layout.ram.blocks.entries()) {
      const bits = bitmapFromWords(words, pageCount, firstPage / 32);
      this.#writeAll(bits, this.layout.regions[index]!.bitmapOffset);
    }
  }

  /** Writes all that is known before the first page, but not the magic. */
  #writeFrame(file?: OutputFile): void {
    for (const [index, { offset, bytes }] of this.layout.pieces.entries()) {
      const hidden = index === 0 ? MAGIC_BYTES : 0;
      this.#writeAll(bytes.subarray(hidden), offset + hidden, file);
    }
  }

  #writeAll(bytes: Uint8Array<ArrayBuffer>, offset: number, file: OutputFile = this.#file): void {
    let done = 0;
    while (done < bytes.length && !this.#held.any) {
      const written = file.write(bytes.subarray(done), offset + done);
      if (written >= 0) done += written;
      else if (this.#mustHold("pwrite", -written)) break;
    }
    this.#held.add(bytes.subarray(done), offset + done);
  }

  /** Returns false when another try is worth it at once. */
  #mustHold(syscall: string, code: number): boolean {
    if (code === Errno.EINTR) return false;
    this.#failedCall = syscall;
    const error = fileError(syscall, code, this.#file.path);
    if (!this.#onError(error)) throw error;
    return true;
  }
}
