/** What a file did not take yet: mostly because its disk is full. */

import { Errno } from "../../ffi/errno.ts";
import type { OutputFile } from "../../ffi/file.ts";

interface HeldWrite {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly offset: number;
}

/** Keeps what could not be written, in order, until it can be. */
export class HeldWrites {
  readonly #file: OutputFile;
  #writes: HeldWrite[] = [];

  /** @param file stays the caller's */
  constructor(file: OutputFile) {
    this.#file = file;
  }

  /** Whether there is any. What comes later must wait behind it. */
  get any(): boolean {
    return this.#writes.length > 0;
  }

  /** Keeps bytes that stay as they are. */
  add(bytes: Uint8Array<ArrayBuffer>, offset: number): void {
    if (bytes.length > 0) this.#writes.push({ bytes, offset });
  }

  /** Writes what the file takes. Returns 0 when that is all of it, else the errno. */
  write(): number {
    for (const [index, { bytes, offset }] of this.#writes.entries()) {
      let done = 0;
      while (done < bytes.length) {
        const written = this.#file.write(bytes.subarray(done), offset + done);
        if (written >= 0) {
          done += written;
        } else if (written !== -Errno.EINTR) {
          const rest = { bytes: bytes.subarray(done), offset: offset + done };
          this.#writes = [rest, ...this.#writes.slice(index + 1)];
          return -written;
        }
      }
    }
    this.#writes = [];
    return 0;
  }
}
