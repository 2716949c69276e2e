/** Sending or writing many pieces of memory with one call, straight from where they lie. */

import { errno, libc } from "./libc.ts";
import { Errno } from "./errno.ts";
import { addressOf, viewMemory } from "./memory.ts";
import { readPair, writePair } from "./word_pairs.ts";

/** UIO_MAXIOV, the kernel's limit of pieces in one call, from include/uapi/linux/uio.h. */
export const MAX_PIECES = 1024;

const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/**
 * A list of pieces of memory to send in order. Made once and filled again for each batch: adding and
 * sending allocate nothing.
 */
export class Gather {
  // struct iovec { void *base; size_t length; } as four 32-bit words each: an address is a number
  // here, and two word stores cost 2 ns where making a bigint costs 40.
  readonly #vector: Uint32Array<ArrayBuffer>;
  readonly #message: Uint8Array<ArrayBuffer>;
  readonly #messageWords: Uint32Array;
  readonly #vectorAddress: number;
  readonly #capacity: number;
  #count = 0;
  #first = 0;

  /** @param capacity pieces, at most {@linkcode MAX_PIECES} */
  constructor(capacity: number) {
    if (capacity > MAX_PIECES) throw new RangeError(`More than 1024 pieces in a call: ${capacity}`);
    this.#capacity = capacity;
    this.#vector = new Uint32Array(new ArrayBuffer(capacity * 16));
    this.#vectorAddress = addressOf(this.#vector); // held beside its owner
    // struct msghdr, 56 bytes: name, name length, iov, iov length, control, control length, flags.
    this.#message = new Uint8Array(56);
    this.#messageWords = new Uint32Array(this.#message.buffer);
  }

  /** Pieces added since the last {@linkcode Gather.clear}. */
  get count(): number {
    return this.#count;
  }

  /** True when nothing is left to be sent. */
  get empty(): boolean {
    return this.#first === this.#count;
  }

  /** True when another piece would not fit. */
  get full(): boolean {
    return this.#count === this.#capacity;
  }

  /** Forgets all pieces. */
  clear(): void {
    this.#count = 0;
    this.#first = 0;
  }

  /**
   * Adds a piece of memory that stays as it is, and where it is, until it is sent.
   *
   * @param address first byte
   * @param length bytes
   */
  add(address: number, length: number): void {
    const at = this.#count * 4;
    writePair(this.#vector, at, address);
    this.#vector[at + 2] = length;
    this.#count++;
  }

  /**
   * Sends what the socket takes without waiting.
   *
   * @param fd a stream socket
   * @returns 0 when all pieces are sent, else the errno; after `EAGAIN` the next call goes on where
   * this one stopped
   */
  send(fd: number): number {
    const words = this.#messageWords;
    while (this.#first < this.#count) {
      writePair(words, 4, this.#vectorAddress + this.#first * 16);
      words[6] = this.#count - this.#first;
      const sent = libc().sendmsg(fd, this.#message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) {
        const code = errno();
        if (code === Errno.EINTR) continue;
        return code;
      }
      this.#drop(sent);
    }
    return 0;
  }

  /**
   * Writes pieces into a file, one after the other: as many as one call takes. The next call goes on
   * where this one stopped.
   *
   * @param fd a file open for writing
   * @param offset bytes from its start, where the first unwritten piece goes
   * @returns bytes written, or the negated errno
   */
  writeTo(fd: number, offset: number): number {
    const address = this.#vectorAddress + this.#first * 16;
    const left = this.#count - this.#first;
    const written = libc().pwritev(fd, BigInt(address), left, BigInt(offset));
    if (written < 0) return -errno();
    this.#drop(written);
    return written;
  }

  /** Copies what is left to be sent, for memory that does not stay as it is. */
  copyRest(): Uint8Array<ArrayBuffer> {
    const vector = this.#vector;
    let length = 0;
    for (let piece = this.#first; piece < this.#count; piece++) length += vector[piece * 4 + 2]!;
    const bytes = new Uint8Array(length);
    let at = 0;
    for (let piece = this.#first; piece < this.#count; piece++) {
      const view = viewMemory(readPair(vector, piece * 4), vector[piece * 4 + 2]!);
      bytes.set(view, at);
      at += view.length;
    }
    return bytes;
  }

  /** Drops what was sent. */
  #drop(bytes: number): void {
    const vector = this.#vector;
    let rest = bytes;
    while (this.#first < this.#count) {
      const length = vector[this.#first * 4 + 2]!;
      if (rest < length) break;
      rest -= length;
      this.#first++;
    }
    if (rest > 0) this.#advance(rest);
  }

  /** Cuts what was sent off the front of the first unsent piece. */
  #advance(sent: number): void {
    const vector = this.#vector;
    const at = this.#first * 4;
    writePair(vector, at, readPair(vector, at) + sent);
    vector[at + 2]! -= sent;
  }
}
