/** A TLS session as one thread uses it. */

import { Errno } from "../errno.ts";
import { viewMemory } from "../memory.ts";
import { PollEvents } from "../poll.ts";
import { sendFrom } from "../socket_calls.ts";
import { BROKEN, brokenSession, type CallResult, callResult, isTruncated } from "./call_result.ts";
import { KernelTls, sayClosingWord } from "./kernel_tls.ts";
import { type OpenSsl, openSsl, textAt } from "./libssl.ts";
import { RECORD_BYTES, SessionWord, sharedParts, type TlsSessionInit } from "./session.ts";
import { SessionLock } from "./session_lock.ts";

/**
 * Decrypted bytes in and out of a session; every thread makes its own from the same
 * {@linkcode TlsSessionInit}. At most one thread reads at a time; any may write, and each write is a record
 * by itself. The library allows one call at a time, and a lock held for that call sees to it.
 *
 * No call waits. After `-EAGAIN` {@linkcode TlsStream.wants} says what to poll the socket for, which may
 * be room for a reader. A read with room for a whole record leaves nothing decrypted behind that no poll
 * of the socket tells of; after others ask {@linkcode TlsStream.pending}. A session that broke says
 * `-EPROTO`, and {@linkcode TlsStream.error} why.
 *
 * The other end may change the keys, as GnuTLS does every 190 GB; the reader hears of it, and the answer
 * goes out in front of what is written next. This end never begins it: OpenSSL 3.0 breaks a session when
 * two changes come while one record waits for room, which takes two ends that both begin; and a QEMU
 * that reads and writes by two threads would break.
 *
 * Where {@linkcode TlsStream.kernelSends} what is written goes to the socket as it is, without the lock.
 */
export class TlsStream {
  /** The socket, to be polled and nothing else. */
  readonly fd: number;
  readonly #init: TlsSessionInit;
  readonly #session: bigint;
  readonly #library: OpenSsl = openSsl();
  readonly #words: Int32Array<ArrayBuffer>;
  /** The record that waits for room, whoever wrote it: every thread that writes sends it first. */
  readonly #waiting: Uint8Array<ArrayBuffer>;
  readonly #lock: SessionLock;
  /** Bytes of this thread's that were left waiting, and of which it has not been told that they went. */
  #owed = 0;
  #wants = 0;
  #heard = false;
  #broken: CallResult | undefined;

  constructor(init: TlsSessionInit) {
    this.#init = init;
    this.fd = init.fd;
    this.#session = BigInt(init.address);
    const { words, record } = sharedParts(init);
    this.#words = words;
    this.#waiting = record;
    this.#lock = new SessionLock(this.#words);
  }

  /** Whether the kernel encrypts what is sent, see `KernelTls`: then whoever has bytes may send by the socket. */
  get kernelSends(): boolean {
    return Atomics.load(this.#words, SessionWord.KERNEL) === KernelTls.SENDS;
  }

  /** Why nothing more is to be sent by the socket, as a negated errno; 0: no reader found it broken. */
  get gone(): number {
    return Atomics.load(this.#words, SessionWord.BROKEN) === 0 ? 0 : this.#gone();
  }

  /**
   * Remembers what came of sending by the socket, for {@linkcode TlsStream.error}.
   *
   * @param code a count, or the negated errno
   * @returns the same
   */
  noteSent(code: number): number {
    if (code === -Errno.EAGAIN) this.#wants = PollEvents.OUT;
    else if (code < 0) this.#broken ??= { code };
    return code;
  }

  /** Bits of `PollEvents` to wait for after `-EAGAIN`. */
  get wants(): number {
    return this.#wants;
  }

  /** Why a call failed; undefined when none has. */
  get error(): Error | undefined {
    return this.#broken === undefined ? undefined : brokenSession(this.#init, this.#broken);
  }

  /**
   * Whether reading failed because the connection ended without the closing word. That is an end only
   * where the protocol inside has said its own: QEMU does not say TLS's everywhere.
   */
  get truncated(): boolean {
    return this.#broken !== undefined && isTruncated(this.#broken);
  }

  /**
   * Reads what has come into memory of the caller's: at most a record's worth.
   *
   * @returns bytes; 0 after the closing word; `-EAGAIN`; or the negated errno, `-EPROTO` of TLS itself
   */
  read(address: bigint, length: number): number {
    this.#begin();
    try {
      const count = this.#library.SSL_read(this.#session, address, length);
      return count > 0 ? this.#hear(count) : this.#unread(count);
    } finally {
      this.#lock.release();
    }
  }

  /** {@linkcode TlsStream.read} to the start of an array. */
  readInto(bytes: Uint8Array, length: number): number {
    this.#begin();
    try {
      const count = this.#library.SSL_readInto(this.#session, bytes, length);
      return count > 0 ? this.#hear(count) : this.#unread(count);
    } finally {
      this.#lock.release();
    }
  }

  /**
   * Writes what there is room for: at most a record's worth, {@linkcode RECORD_BYTES}.
   *
   * @returns bytes taken; `-EAGAIN`, after which the same bytes are to come again, wherever they lie: they
   * are in a record that waits for room, and the next call says that they went; or the negated errno,
   * `-EPROTO` of TLS itself
   */
  write(address: bigint, length: number): number {
    const most = length > RECORD_BYTES ? RECORD_BYTES : length;
    if (this.kernelSends) return this.#sendPlain(viewMemory(Number(address), most), most);
    this.#begin();
    try {
      const before = this.#sendWaiting();
      if (before !== 0) return before;
      const count = this.#library.SSL_write(this.#session, address, most);
      if (count > 0) return count;
      const code = this.#unwritten(count);
      if (code === -Errno.EAGAIN) this.#keep(viewMemory(Number(address), most));
      return code;
    } finally {
      this.#lock.release();
    }
  }

  /** {@linkcode TlsStream.write} from the start of an array. */
  writeFrom(bytes: Uint8Array, length: number): number {
    const most = length > RECORD_BYTES ? RECORD_BYTES : length;
    if (this.kernelSends) return this.#sendPlain(bytes, most);
    this.#begin();
    try {
      const before = this.#sendWaiting();
      if (before !== 0) return before;
      const count = this.#library.SSL_writeFrom(this.#session, bytes, most);
      if (count > 0) return count;
      const code = this.#unwritten(count);
      if (code === -Errno.EAGAIN) this.#keep(bytes.subarray(0, most));
      return code;
    } finally {
      this.#lock.release();
    }
  }

  /** Whether something has come that the socket does not hold any more; it may be a part of a record. */
  get pending(): boolean {
    this.#lock.acquire();
    try {
      return this.#library.SSL_has_pending(this.#session) === 1;
    } finally {
      this.#lock.release();
    }
  }

  /**
   * Says the closing word: the other end knows that nothing was cut off. What it says can still be read.
   *
   * @returns 0 when it is said; `-EAGAIN` to call again; or the negated errno
   */
  end(): number {
    this.#begin();
    try {
      if (this.#broken !== undefined) return this.#broken.code;
      const closing = Atomics.load(this.#words, SessionWord.CLOSING);
      // Called again, the library would read the other end's word, and throw away what comes before it.
      if (closing === 2) return 0;
      if (closing === 0) {
        const before = this.#sendWaiting();
        if (before < 0) return before;
      }
      if (this.kernelSends) {
        const code = this.noteSent(sayClosingWord(this.fd));
        if (code === 0) Atomics.store(this.#words, SessionWord.CLOSING, 2);
        return code;
      }
      Atomics.store(this.#words, SessionWord.CLOSING, 1);
      const result = this.#library.SSL_shutdown(this.#session);
      if (result < 0) return this.#failed(result);
      Atomics.store(this.#words, SessionWord.CLOSING, 2);
      return 0;
    } finally {
      this.#lock.release();
    }
  }

  /** Version and cipher, for messages: `"TLSv1.3 TLS_AES_256_GCM_SHA384"`. */
  get cipher(): string {
    const library = this.#library;
    const cipher = library.SSL_CIPHER_get_name(library.SSL_get_current_cipher(this.#session));
    return `${textAt(library.SSL_get_version(this.#session))} ${textAt(cipher)}`;
  }

  /** Takes the lock, with nothing in this thread's queue of errors. */
  #begin(): void {
    this.#lock.acquire();
    this.#library.ERR_clear_error();
  }

  /**
   * Sends the record that waits for room: the library has encrypted it, and would take any other bytes for
   * its.
   *
   * @returns 0 when there is none any more; bytes of this thread's that went with it, or before; or why not
   */
  #sendWaiting(): number {
    // The library says nothing of why, or what it said of something else.
    if (Atomics.load(this.#words, SessionWord.BROKEN) !== 0) return this.#gone();
    const length = Atomics.load(this.#words, SessionWord.WAITING);
    if (length > 0) {
      const count = this.#library.SSL_writeFrom(this.#session, this.#waiting, length);
      if (count <= 0) return this.#unwritten(count);
      Atomics.store(this.#words, SessionWord.WAITING, 0);
    }
    const owed = this.#owed;
    this.#owed = 0;
    return owed;
  }

  #sendPlain(bytes: Uint8Array, length: number): number {
    let count = this.gone;
    if (count !== 0) return count;
    do count = sendFrom(this.fd, bytes, length); while (count === -Errno.EINTR);
    return this.noteSent(count);
  }

  /** Keeps a record that waits for room. */
  #keep(bytes: Uint8Array): void {
    this.#waiting.set(bytes);
    Atomics.store(this.#words, SessionWord.WAITING, bytes.length);
    this.#owed = bytes.length;
  }

  #hear(count: number): number {
    if (!this.#heard) {
      this.#heard = true;
      Atomics.store(this.#words, SessionWord.HEARD, 1);
    }
    return count;
  }

  /** Says what came of a read; whoever writes by another thread is to know of what ended the session. */
  #unread(count: number): number {
    const code = this.#failed(count);
    if (code === BROKEN) Atomics.store(this.#words, SessionWord.BROKEN, 1);
    return code;
  }

  /** Says what came of a write; the end of what comes is none of its. */
  #unwritten(count: number): number {
    return this.#failed(count) || this.#gone();
  }

  /** The session is no more; the thread that reads knows why. */
  #gone(): number {
    this.#broken ??= { code: -Errno.EPIPE };
    return this.#broken.code;
  }

  /** Says what came of a call, while its lock is held. */
  #failed(count: number): number {
    const result = callResult(this.#session, count);
    if (result.code === -Errno.EAGAIN) this.#wants = result.wants!;
    // What came first says more than what follows from it.
    else if (result.code !== 0) this.#broken ??= result;
    return result.code;
  }
}
