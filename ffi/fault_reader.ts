/** Reading fault messages from a userfaultfd, many with one call. */

import { errno, libc } from "./libc.ts";
import { readPair } from "./word_pairs.ts";

/** `sizeof(struct uffd_msg)`, from include/uapi/linux/userfaultfd.h. */
export const MESSAGE_BYTES = 32;
/** What a message tells: `UFFD_EVENT_*`. */
export const UffdEvent = {
  PAGEFAULT: 0x12,
  FORK: 0x13,
  REMAP: 0x14,
  REMOVE: 0x15,
  UNMAP: 0x16,
} as const;
/** `UFFD_PAGEFAULT_FLAG_MINOR`. */
const FLAG_MINOR = 4;

/** A reusable buffer of fault messages. */
export class FaultReader {
  readonly #fd: number;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #words: Uint32Array;

  /**
   * @param fd a non-blocking userfaultfd, owned elsewhere
   * @param capacity most messages taken by one read
   * @param bytes where they are read to, of so many messages; default memory of its own
   */
  constructor(
    fd: number,
    capacity: number,
    bytes: Uint8Array<ArrayBuffer> = new Uint8Array(capacity * MESSAGE_BYTES),
  ) {
    this.#fd = fd;
    this.#bytes = bytes;
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }

  /** Messages that one read takes at most. */
  get capacity(): number {
    return this.#bytes.length / MESSAGE_BYTES;
  }

  /**
   * Takes the messages that are there, without waiting.
   *
   * @returns how many, or the negated errno (`-EAGAIN`: none)
   */
  read(): number {
    const count = libc().read(this.#fd, this.#bytes, this.#bytes.length);
    return count >= 0 ? count / MESSAGE_BYTES : -errno();
  }

  /** True when a message is a page fault. */
  isPageFault(message: number): boolean {
    return this.event(message) === UffdEvent.PAGEFAULT;
  }

  /** What a message tells, one of {@linkcode UffdEvent}. */
  event(message: number): number {
    return this.#bytes[message * MESSAGE_BYTES]!;
  }

  /** Of a removed or unmapped range the first byte. */
  rangeStart(message: number): number {
    return readPair(this.#words, message * 8 + 2);
  }

  /** Of a removed or unmapped range the byte behind it. */
  rangeEnd(message: number): number {
    return readPair(this.#words, message * 8 + 4);
  }

  /** Of a fork the child's userfaultfd: new with the read, and whoever read has to close it. */
  forkedDescriptor(message: number): number {
    return this.#words[message * 8 + 2]!;
  }

  /** Of a range that was moved the first byte where it was. */
  movedFrom(message: number): number {
    return readPair(this.#words, message * 8 + 2);
  }

  /** Of a range that was moved the first byte where it is now. */
  movedTo(message: number): number {
    return readPair(this.#words, message * 8 + 4);
  }

  /** Of a range that was moved its bytes. */
  movedLength(message: number): number {
    return readPair(this.#words, message * 8 + 6);
  }

  /** True when the page is in the page cache and only not mapped; needs `RegisterMode.MINOR`. */
  isMinor(message: number): boolean {
    return (this.#words[message * 8 + 2]! & FLAG_MINOR) !== 0;
  }

  /** The address that was touched, rounded down to the host page unless EXACT_ADDRESS is on. */
  address(message: number): number {
    return readPair(this.#words, message * 8 + 4);
  }

  /** The thread that waits, by its number; 0 without the THREAD_ID feature. */
  threadId(message: number): number {
    return this.#words[message * 8 + 6]!;
  }
}
