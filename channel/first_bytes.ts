/** Who is connected, told by the first bytes that came through the channel. */

import { Errno } from "../ffi/errno.ts";
import { readU16, readU32 } from "../migration/protocol/byte_order.ts";
import { COMMAND, ELEMENT, RECORD, STREAM_MAGIC } from "../migration/protocol/constants.ts";
import { MULTIFD_MAGIC } from "../migration/protocol/multifd.ts";
import type { Connection, ConnectionInit } from "./connection.ts";
import { openConnection } from "./open_connection.ts";

/** A main channel shows itself by its magic, a preempt channel by the first record's offset and flags. */
const HEAD_BYTES = 8;
const MAGIC_BYTES = 4;
/** The first four bytes of a page's record are at most this: its offset is below 2^53. */
const MOST_OF_PAGE = 0x1f_ffff;
const FLAGS = 0xfff;

/** Head of a command: type, code and length; behind it the length of a block's name. */
const COMMAND_HEAD = 5;

/**
 * Who it is. `recovery`: the main channel of a source that resumes. `silent`: it has not said enough yet.
 * `stranger`: what it says has no place here, or it left.
 */
export type Speaker = "silent" | "main" | "recovery" | "preempt" | "multifd" | "stranger";

/**
 * Receives the first bytes of a connection, and keeps them for the channel that it turns out to be. The
 * main channel begins with QEMU's magic; that of a source that resumes with a command, and no page's
 * record has a byte that is not 0 there. The preempt channel has no greeting, and says nothing before a
 * page was asked for: it is known by its first page. Who is welcome when is for others to say.
 */
export class FirstBytes {
  readonly #init: ConnectionInit;
  readonly #connection: Connection;
  readonly #head: Uint8Array;
  #length = 0;
  #left = false;

  /** @param init the connection, which others may have listened to before */
  constructor(init: ConnectionInit) {
    const { head } = init;
    this.#init = init;
    this.#connection = openConnection(init);
    this.#head = new Uint8Array(Math.max(HEAD_BYTES, head?.length ?? 0));
    if (head === undefined) return;
    this.#head.set(head);
    this.#length = head.length;
  }

  /** The connection with what came by it, for whoever takes it over. */
  get connection(): ConnectionInit {
    return { ...this.#init, head: this.#head.slice(0, this.#length) };
  }

  /** What to poll for. */
  get fd(): number {
    return this.#init.fd;
  }

  /** Why it left, when TLS knows more of it than that it did. */
  get failure(): Error | undefined {
    return this.#connection.failure;
  }

  /** Takes what has come, without waiting, and says who it is by now. */
  listen(): Speaker {
    while (this.speaker === "silent") {
      const count = this.#connection.receiveFew(this.#head, this.#length);
      if (count === -Errno.EAGAIN) break;
      if (count <= 0) this.#left = true;
      else this.#length += count;
    }
    return this.speaker;
  }

  /** Who it is, as far as that is known. */
  get speaker(): Speaker {
    if (this.#head[0] === ELEMENT.COMMAND) return this.#commander();
    if (this.#length >= MAGIC_BYTES) {
      const first = readU32(this.#head, 0);
      if (first === STREAM_MAGIC) return "main";
      if (first === MULTIFD_MAGIC) return "multifd";
      if (first > MOST_OF_PAGE) return "stranger";
    }
    if (this.#length >= HEAD_BYTES) {
      const flags = readU32(this.#head, 4) & FLAGS;
      const page = flags === RECORD.PAGE || flags === RECORD.ZERO ||
        flags === RECORD.END_OF_SECTION;
      return page ? "preempt" : "stranger";
    }
    return this.#left ? "stranger" : "silent";
  }

  /** Who begins with a command: it asks for a receive bitmap, mostly. */
  #commander(): Speaker {
    const unknown = this.#left ? "stranger" : "silent";
    if (this.#length < COMMAND_HEAD) return unknown;
    const length = readU16(this.#head, 3);
    switch (readU16(this.#head, 1)) {
      case COMMAND.PING:
        return length === 4 ? "recovery" : "stranger";
      case COMMAND.POSTCOPY_RESUME:
        return length === 0 ? "recovery" : "stranger";
      case COMMAND.RECEIVE_BITMAP:
        // One byte more, for a stranger is not to end a connection that is well.
        if (this.#length === COMMAND_HEAD) return unknown;
        return this.#head[COMMAND_HEAD] === length - 1 ? "recovery" : "stranger";
    }
    return "stranger";
  }
}
