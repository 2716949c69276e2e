/** Reading fault messages from a userfaultfd, many with one call. */

import { errno, libc } from "./libc.ts";
import { readPair } from "./word_pairs.ts";

/** `sizeof(struct uffd_msg)`, from include/uapi/linux/userfaultfd.h. */
const MESSAGE_BYTES = 32;
/** `UFFD_EVENT_PAGEFAULT`. */
const EVENT_PAGEFAULT = 0x12;
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
   */
  constructor(fd: number, capacity: number) {
    this.#fd = fd;
    this.#bytes = new Uint8Array(capacity * MESSAGE_BYTES);
    this.#words = new Uint32Array(this.#bytes.buffer);
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

  /** True when a message is a page fault; no other event is asked for here. */
  isPageFault(message: number): boolean {
    return this.#bytes[message * MESSAGE_BYTES] === EVENT_PAGEFAULT;
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
