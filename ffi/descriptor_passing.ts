/** Descriptors that come and go with bytes on a unix socket: SCM_RIGHTS, of unix(7). */

import { Errno } from "./errno.ts";
import { errno, libc } from "./libc.ts";
import { addressOf } from "./memory.ts";
import { writePair } from "./word_pairs.ts";

// From include/linux/socket.h and include/uapi/asm-generic/socket.h.
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_PEEK = 0x02;
const MSG_CTRUNC = 0x08;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;

// struct msghdr as 32-bit words: name, name length, iov, iov length, control, control length, flags.
const HEADER_BYTES = 56;
const IOV_WORD = 4;
const CONTROL_WORD = 8;
const CONTROL_LENGTH_WORD = 10;
const FLAGS_WORD = 12;
/** struct cmsghdr: size_t length, int level, int type; the descriptors follow. */
const CONTROL_HEADER_BYTES = 16;

/** Descriptors that one message may carry here; the kernel allows 253. */
const MOST_DESCRIPTORS = 16;
const CONTROL_BYTES = CONTROL_HEADER_BYTES + MOST_DESCRIPTORS * 4;

/** The arguments of recvmsg and sendmsg: one piece of bytes, and descriptors. */
class DescriptorMessage {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly header = new Uint8Array(HEADER_BYTES);
  readonly control: Int32Array<ArrayBuffer> = new Int32Array(CONTROL_BYTES / 4);
  readonly #words = new Uint32Array(this.header.buffer);
  readonly #vector = new Uint32Array(4);
  // An address keeps nothing alive: each stands beside its owner.
  readonly #bytesAddress: number;
  readonly #vectorAddress = addressOf(this.#vector);
  readonly #controlAddress = addressOf(this.control);

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
    this.#bytesAddress = addressOf(bytes);
  }

  /** Fills the header in; the kernel changes it with each call. */
  prepare(controlLength: number): void {
    writePair(this.#vector, 0, this.#bytesAddress);
    writePair(this.#vector, 2, this.bytes.length);
    this.#words.fill(0);
    writePair(this.#words, IOV_WORD, this.#vectorAddress);
    this.#words[IOV_WORD + 2] = 1;
    writePair(this.#words, CONTROL_WORD, controlLength === 0 ? 0 : this.#controlAddress);
    this.#words[CONTROL_LENGTH_WORD] = controlLength;
  }

  get controlLength(): number {
    return this.#words[CONTROL_LENGTH_WORD]!;
  }

  get flags(): number {
    return this.#words[FLAGS_WORD]!;
  }
}

/** Receives bytes and the descriptors that come with them. */
export class DescriptorReceiver {
  readonly #message: DescriptorMessage;
  /** What has come so far, in order: the caller's to take out, and to close. */
  readonly descriptors: number[] = [];
  #lost = false;

  /** @param bytes where bytes are put, from the start with each call */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#message = new DescriptorMessage(bytes);
  }

  /** True when descriptors came that this process could not take: it has no number left for them. */
  get lost(): boolean {
    return this.#lost;
  }

  /**
   * Receives what is there, without waiting. Descriptors are closed when this process starts another.
   *
   * @param fd a unix stream socket
   * @returns bytes received, 0 at the end, or the negated errno (`-EAGAIN`: nothing there)
   */
  receive(fd: number): number {
    return this.#receive(fd, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  }

  /**
   * The same, and leaves all in the socket: the descriptors are copies. Of a stream no more comes at a time than
   * up to the bytes that a descriptor came with.
   */
  peek(fd: number): number {
    return this.#receive(fd, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  }

  /** Takes bytes out of a socket that were seen by {@linkcode DescriptorReceiver.peek}, and what came with them. */
  drop(fd: number, length: number): void {
    const { bytes } = this.#message;
    for (let left = length; left > 0;) {
      // Without room for them the kernel closes the descriptors.
      const count = libc().recv(fd, bytes, left, MSG_DONTWAIT);
      if (count > 0) left -= count;
      else if (count === 0 || errno() !== Errno.EINTR) return; // who has nothing more is not to be waited for
    }
  }

  #receive(fd: number, flags: number): number {
    const message = this.#message;
    message.prepare(CONTROL_BYTES);
    const count = libc().recvmsg(fd, message.header, flags);
    if (count < 0) return -errno();
    this.#take();
    return count;
  }

  /** Closes all that nobody took out. */
  closeAll(): void {
    for (const fd of this.descriptors.splice(0)) libc().close(fd);
  }

  #take(): void {
    const { control, controlLength, flags } = this.#message;
    if ((flags & MSG_CTRUNC) !== 0) this.#lost = true;
    // The kernel puts all descriptors of a message under one header.
    if (controlLength < CONTROL_HEADER_BYTES) return;
    if (control[2] !== SOL_SOCKET || control[3] !== SCM_RIGHTS) return;
    const end = Math.min(control[0]!, controlLength) / 4;
    for (let word = CONTROL_HEADER_BYTES / 4; word < end; word++) {
      this.descriptors.push(control[word]!);
    }
  }
}

/** Sends bytes that are made once, with descriptors: what a call needs is there before it. */
export class DescriptorSender {
  readonly #message: DescriptorMessage;

  /** @param bytes at least one: all of them are sent, as they are then */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#message = new DescriptorMessage(bytes);
  }

  /** See {@linkcode sendDescriptors}. */
  send(fd: number, descriptors: readonly number[]): number {
    if (descriptors.length > MOST_DESCRIPTORS) {
      throw new RangeError(`More descriptors than a message carries: ${descriptors.length}`);
    }
    const message = this.#message;
    const length = CONTROL_HEADER_BYTES + descriptors.length * 4;
    message.prepare(descriptors.length === 0 ? 0 : Math.ceil(length / 8) * 8);
    const { control } = message;
    [control[0], control[1], control[2], control[3]] = [length, 0, SOL_SOCKET, SCM_RIGHTS];
    control.set(descriptors, CONTROL_HEADER_BYTES / 4);
    const count = libc().sendmsg(fd, message.header, MSG_DONTWAIT | MSG_NOSIGNAL);
    return count >= 0 ? count : -errno();
  }
}

/**
 * Sends bytes with descriptors on the first of them, without waiting. The receiver gets copies.
 *
 * @param fd a unix stream socket, or one of messages
 * @param bytes at least one
 * @param descriptors at most 16
 * @returns bytes taken, at least one of them with all descriptors; or the negated errno
 */
export function sendDescriptors(
  fd: number,
  bytes: Uint8Array<ArrayBuffer>,
  descriptors: readonly number[],
): number {
  return new DescriptorSender(bytes).send(fd, descriptors);
}
