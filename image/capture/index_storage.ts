/** Where an index is written: a file beside the image, or memory where that cannot be. */

import { MappedFile } from "../../ffi/mapped_file.ts";
import { MappedMemory } from "../../ffi/memory.ts";

/** An index that cannot be written where it is to be: the disk is full, or fails. */
export class IndexStorageError extends Error {
  override readonly name = "IndexStorageError";
}

/** Bytes that are written at any place and at last mapped. */
export interface IndexStorage extends Disposable {
  /**
   * Called before the first write, with the bytes that it can come to at most.
   *
   * @throws {SyscallError} for memory that cannot be had
   */
  reserve(limit: number): void;
  /**
   * Writes bytes; what lies between written ranges is zero.
   *
   * @throws {IndexStorageError} after which nothing that was written can be relied on
   */
  write(position: number, bytes: Uint8Array): void;
  /**
   * Reads back bytes that were written.
   *
   * @throws {IndexStorageError}
   */
  read(position: number, into: Uint8Array): void;
  /**
   * Ends the writing: gives a file its name and maps it.
   *
   * @param length bytes in all
   * @returns the index, which is now the caller's, and why it could not be kept as a file
   * @throws {IndexStorageError} as `write`
   */
  finish(length: number): Promise<{ memory: MappedMemory; reason?: string }>;
}

/**
 * Opens the storage for the index `path`.
 *
 * @param mode permissions of the file; the process's umask takes from them
 */
export async function openIndexStorage(path: string, mode: number = 0o600): Promise<IndexStorage> {
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    const options = { read: true, write: true, createNew: true, mode };
    return new FileStorage(path, temporary, await Deno.open(temporary, options));
  } catch (error) {
    // A directory that cannot be written to is no reason not to serve the image.
    return new MemoryStorage(whyNotKept(error, path, temporary));
  }
}

class FileStorage implements IndexStorage {
  readonly #path: string;
  readonly #temporary: string;
  readonly #file: Deno.FsFile;
  #open = true;
  #named = false;

  constructor(path: string, temporary: string, file: Deno.FsFile) {
    this.#path = path;
    this.#temporary = temporary;
    this.#file = file;
  }

  reserve(_limit: number): void {}

  write(position: number, bytes: Uint8Array): void {
    try {
      this.#file.seekSync(position, Deno.SeekMode.Start);
      let written = 0;
      while (written < bytes.length) written += this.#file.writeSync(bytes.subarray(written));
    } catch (cause) {
      throw this.#unusable(cause);
    }
  }

  read(position: number, into: Uint8Array): void {
    try {
      this.#file.seekSync(position, Deno.SeekMode.Start);
      let filled = 0;
      while (filled < into.length) {
        const count = this.#file.readSync(into.subarray(filled));
        if (count === null) throw new Error(`it ends at byte ${position + filled}`);
        filled += count;
      }
    } catch (cause) {
      throw this.#unusable(cause);
    }
  }

  async finish(length: number): Promise<{ memory: MappedMemory; reason?: string }> {
    let memory: MappedMemory;
    try {
      await this.#file.truncate(length);
      // After a power cut a name must not lead to bytes that never reached the disk.
      await this.#file.syncData();
      // Mapped before it is named: from then on another process may put its own in its place.
      memory = MappedFile.open(this.#temporary, length);
    } catch (cause) {
      throw this.#unusable(cause);
    }
    try {
      await Deno.rename(this.#temporary, this.#path);
      this.#named = true;
      return { memory };
    } catch (error) {
      return { memory, reason: whyNotKept(error, this.#path, this.#temporary) };
    } finally {
      this[Symbol.dispose]();
    }
  }

  #unusable(cause: unknown): IndexStorageError {
    const reason = reasonOf(cause).replaceAll(this.#temporary, this.#path);
    return new IndexStorageError(`${this.#path} cannot be written: ${reason}`, { cause });
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#file.close();
    if (!this.#named) Deno.removeSync(this.#temporary);
  }
}

/** An index in memory, gone with the image. */
export class MemoryStorage implements IndexStorage {
  readonly reason: string;
  #memory: MappedMemory | undefined;
  #bytes: Uint8Array = new Uint8Array(0);

  /** @param reason why it is not kept as a file */
  constructor(reason: string) {
    this.reason = reason;
  }

  reserve(limit: number): void {
    this.#memory = MappedMemory.anonymous(limit); // its pages exist only once they are written
    this.#bytes = this.#memory.bytes();
  }

  write(position: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, position);
  }

  read(position: number, into: Uint8Array): void {
    into.set(this.#bytes.subarray(position, position + into.length));
  }

  finish(_length: number): Promise<{ memory: MappedMemory; reason?: string }> {
    const memory = this.#memory!;
    this.#memory = undefined;
    return Promise.resolve({ memory, reason: this.reason });
  }

  [Symbol.dispose](): void {
    this.#memory?.close();
  }
}

/** Why a file beside an image cannot be kept, without the temporary name, which says nothing to anybody. */
export function whyNotKept(error: unknown, path: string, temporary: string): string {
  const directory = path.slice(0, path.lastIndexOf("/") + 1) || "./";
  const reason = reasonOf(error).replace(/: (?:open|rename) '.*$/, "");
  return `no file can be made in ${directory}: ${reason.replaceAll(temporary, path)}`;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : `${error}`;
}
