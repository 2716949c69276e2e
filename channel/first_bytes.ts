/** Who is connected, told by the first bytes that came through the channel. */

import { Errno } from "../ffi/errno.ts";
import { readU32 } from "../migration/protocol/byte_order.ts";
import { RECORD, STREAM_MAGIC } from "../migration/protocol/constants.ts";
import { Connection, type ConnectionInit } from "./connection.ts";

/** A main channel shows itself by its magic, a preempt channel by the first record's offset and flags. */
const HEAD_BYTES = 8;
const MAGIC_BYTES = 4;
/** The first four bytes of a page's record are at most this: its offset is below 2^53. */
const MOST_OF_PAGE = 0x1f_ffff;
const FLAGS = 0xfff;

/** Who it is. `silent`: it has not said enough yet. `stranger`: what it says has no place here, or it left. */
export type Speaker = "silent" | "main" | "preempt" | "stranger";

/**
 * Receives the first bytes of a connection, and keeps them for the channel that it turns out to be. The
 * main channel begins with QEMU's magic. The preempt channel has no greeting, and says nothing before a
 * page was asked for: it is known by its first page.
 */
export class FirstBytes {
  readonly #fd: number;
  readonly #connection: Connection;
  readonly #head = new Uint8Array(HEAD_BYTES);
  #length = 0;
  #left = false;

  /** @param init the connection, which others may have listened to before */
  constructor({ fd, head }: ConnectionInit) {
    this.#fd = fd;
    this.#connection = new Connection(fd);
    if (head === undefined) return;
    this.#head.set(head);
    this.#length = head.length;
  }

  /** The connection with what came by it, for whoever takes it over. */
  get connection(): ConnectionInit {
    return { fd: this.#fd, head: this.#head.slice(0, this.#length) };
  }

  /** What to poll for. */
  get fd(): number {
    return this.#fd;
  }

  /** Takes what has come, without waiting, and says who it is by now. */
  listen(): Speaker {
    while (this.speaker === "silent") {
      const count = this.#connection.receiveInto(this.#head, this.#length);
      if (count === -Errno.EAGAIN) break;
      if (count <= 0) this.#left = true;
      else this.#length += count;
    }
    return this.speaker;
  }

  /** Who it is, as far as that is known. */
  get speaker(): Speaker {
    if (this.#length >= MAGIC_BYTES) {
      const first = readU32(this.#head, 0);
      if (first === STREAM_MAGIC) return "main";
      if (first > MOST_OF_PAGE) return "stranger";
    }
    if (this.#length === HEAD_BYTES) {
      const flags = readU32(this.#head, 4) & FLAGS;
      const page = flags === RECORD.PAGE || flags === RECORD.ZERO ||
        flags === RECORD.END_OF_SECTION;
      return page ? "preempt" : "stranger";
    }
    return this.#left ? "stranger" : "silent";
  }
}
