/** The floor of a page request: a small message there, a page back, and nothing else. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { receive, sendFrom, setQuickAck } from "../../ffi/socket_calls.ts";

/** Bytes of a request: REQ_PAGES_ID that names a block of ten characters (QEMU's return path). */
export const REQUEST_BYTES = 27;
/** Bytes of a reply: a page. */
export const REPLY_BYTES = 4096;

/** A socket of one thread, waited for with poll as the workers of the project do. */
class Channel implements Disposable {
  readonly #fd: number;
  readonly #memory: MappedMemory;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #poll = new PollSet(2);

  /** @param wakeFd eventfd that ends every wait */
  constructor(fd: number, wakeFd: number, bufferBytes: number) {
    this.#fd = fd;
    this.#memory = MappedMemory.anonymous(bufferBytes);
    this.#memory.populate();
    this.#bytes = this.#memory.bytes();
    this.#poll.watch(1, wakeFd, PollEvents.IN);
  }

  /** Returns false when the wait was ended from outside. */
  #wait(events: number): boolean {
    this.#poll.watch(0, this.#fd, events);
    while (this.#poll.wait(-1) === 0);
    return this.#poll.ready(1) === 0;
  }

  /** Waits for `length` bytes; returns false at the end of the stream or of the wait. */
  receiveAll(length: number): boolean {
    let have = 0;
    while (have < length) {
      if (!this.#wait(PollEvents.IN)) return false;
      const count = receive(this.#fd, BigInt(this.#memory.address + have), length - have);
      if (count > 0) have += count;
      else if (count === 0 || count === -Errno.ECONNRESET) return false;
      else if (count !== -Errno.EAGAIN) throw new SyscallError("recv", -count);
    }
    setQuickAck(this.#fd);
    return true;
  }

  /** Sends the first `length` bytes of the buffer; returns false when the peer has gone. */
  sendAll(length: number): boolean {
    let sent = 0;
    while (sent < length) {
      const from = sent === 0 ? this.#bytes : this.#bytes.subarray(sent);
      const count = sendFrom(this.#fd, from, length - sent);
      if (count >= 0) sent += count;
      else if (count === -Errno.EPIPE || count === -Errno.ECONNRESET) return false;
      else if (count !== -Errno.EAGAIN) throw new SyscallError("send", -count);
      else if (!this.#wait(PollEvents.OUT)) return false;
    }
    return true;
  }

  [Symbol.dispose](): void {
    this.#memory.close();
  }
}

/** The source's thread: answers requests with pages until the peer goes or `wakeFd` is signalled. */
export function answerRequests(fd: number, wakeFd: number): void {
  using channel = new Channel(fd, wakeFd, REPLY_BYTES);
  while (channel.receiveAll(REQUEST_BYTES) && channel.sendAll(REPLY_BYTES));
}

/**
 * The destination's thread: asks for pages, one at a time.
 *
 * @param count requests measured
 * @param warmUp requests before, not measured
 * @returns the time of each from before the request to the whole page, nanoseconds
 */
export function measureRequests(
  fd: number,
  wakeFd: number,
  count: number,
  warmUp: number,
): Float64Array<ArrayBuffer> {
  using channel = new Channel(fd, wakeFd, REPLY_BYTES);
  const samples = new Float64Array(count);
  for (let index = -warmUp; index < count; index++) {
    const start = monotonicNanoseconds();
    if (!channel.sendAll(REQUEST_BYTES) || !channel.receiveAll(REPLY_BYTES)) {
      throw new Error("Connection ended during the measurement");
    }
    if (index >= 0) samples[index] = monotonicNanoseconds() - start;
  }
  return samples;
}
