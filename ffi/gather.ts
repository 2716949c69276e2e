/** Sending or writing many pieces of memory with one call, straight from where they lie. */

import { errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { kernelRelease } from "./kernel_release.ts";
import { addressOf, viewMemory } from "./memory.ts";
import { hasSeccompFilter } from "./seccomp.ts";
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
  /** Where {@linkcode Gather.copyTo} copies to: one iovec. */
  readonly #target = new Uint32Array(new ArrayBuffer(16));
  readonly #targetBytes = new Uint8Array(this.#target.buffer);
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

  /**
   * Copies pieces one after the other into memory of the caller's, as far as there is room: what is copied
   * is no longer to be sent. The kernel copies, so that a piece which cannot be read is an error and not
   * this process's end.
   *
   * @param address where to
   * @param room bytes
   * @returns bytes copied; `-EFAULT` when the first piece cannot be read
   * @throws {SyscallError} `EPERM` or `ENOSYS` when the call is not let through, with what to do
   */
  copyTo(address: number, room: number): number {
    writePair(this.#target, 0, address);
    this.#target[2] = room;
    const from = BigInt(this.#vectorAddress + this.#first * 16);
    const pieces = BigInt(this.#piecesFor(room));
    // Written to this process and not read from it: the kernel then looks up the pages of the target alone,
    // at once, and not of every piece. 64 KiB of page records take 8 us and not 16.
    const copied = libc().process_vm_writev(Deno.pid, from, pieces, this.#targetBytes, 1n, 0n);
    if (copied < 0) {
      const code = errno();
      if (code === Errno.EFAULT) return -code;
      throw cannotCopy(code);
    }
    this.#drop(copied);
    return copied;
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

  /** Unsent pieces that fill so much room, or all: the kernel goes through as many as it is given. */
  #piecesFor(room: number): number {
    const vector = this.#vector;
    let piece = this.#first;
    for (let length = 0; piece < this.#count && length < room; piece++) {
      length += vector[piece * 4 + 2]!;
    }
    return piece - this.#first;
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

/**
 * Sees that {@linkcode Gather.copyTo} can do its work here, before anything depends on it.
 *
 * @throws {SyscallError} `EPERM` or `ENOSYS` when the call is not let through, with what to do
 */
export function requireCopying(): void {
  const bytes = new Uint8Array(new ArrayBuffer(2));
  const gather = new Gather(1);
  gather.add(addressOf(bytes), 1);
  gather.copyTo(addressOf(bytes) + 1, 1);
}

/** The error for a copy that the kernel, or what answers in its place, does not make. */
function cannotCopy(code: number): SyscallError {
  const what = "copying pages that are to be encrypted or compressed";
  return new SyscallError("process_vm_writev", code, what, copyingRemedy(code));
}

function copyingRemedy(code: number): string | undefined {
  if (code !== Errno.EPERM && code !== Errno.ENOSYS) return undefined;
  if (hasSeccompFilter()) {
    return "a seccomp filter of this container or service may refuse it: allow the system call " +
      "process_vm_writev there (in the file of docker run --security-opt seccomp=FILE; systemd: " +
      "SystemCallFilter=process_vm_writev)";
  }
  return `this kernel may have been built without it: Linux ${kernelRelease()}: use one with ` +
    "CONFIG_CROSS_MEMORY_ATTACH";
}
