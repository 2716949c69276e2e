/** What `criu restore --lazy-pages` says to whoever serves pages. */

import { MigrationError } from "../../../migration/migration_error.ts";

/** Said in place of a number when all processes are restored: `LAZY_PAGES_RESTORE_FINISHED` of criu/uffd.c. */
const ALL_RESTORED = 0x5253_5446;
const NUMBER_BYTES = 4;

/**
 * Bytes of the messages that are whole at the start of some: a number of a process, and the byte that comes with its
 * descriptor.
 *
 * @param bytes that begin with a message
 * @param count how many of them there are
 */
export function wholeMessages(bytes: Uint8Array<ArrayBuffer>, count: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, count);
  let at = 0;
  while (at + NUMBER_BYTES <= count) {
    const pid = view.getInt32(at, true);
    const length = NUMBER_BYTES + (pid <= 0 || pid === ALL_RESTORED ? 0 : 1);
    if (at + length > count) break;
    at += length;
  }
  return at;
}

/** Hears what was said. */
export interface RestoreHandler {
  /** A process is restored; its descriptor is the next that came. */
  restored(pid: number): void;
  /** All are, and run. */
  finished(): void;
}

/**
 * Understands it, in whatever pieces it comes: numbers of processes, each with one more byte, which the
 * descriptor comes with, except behind a negative one, whose process has no memory of its own.
 */
export class RestoreDecoder {
  readonly #handler: RestoreHandler;
  readonly #number = new DataView(new ArrayBuffer(NUMBER_BYTES));
  #have = 0;
  #finished = false;

  constructor(handler: RestoreHandler) {
    this.#handler = handler;
  }

  /**
   * Takes bytes.
   *
   * @throws {MigrationError} `BAD_PEER` for what CRIU does not say
   */
  take(bytes: Uint8Array): void {
    for (const byte of bytes) this.#take(byte);
  }

  #take(byte: number): void {
    if (this.#finished) throw unknown("bytes behind the last message");
    if (this.#have < NUMBER_BYTES) {
      this.#number.setUint8(this.#have++, byte);
      if (this.#have === NUMBER_BYTES) this.#numberIsThere();
      return;
    }
    if (byte !== 0) throw unknown(`byte ${byte} with a descriptor`);
    this.#have = 0;
    this.#handler.restored(this.#number.getInt32(0, true));
  }

  #numberIsThere(): void {
    const pid = this.#number.getInt32(0, true);
    if (pid === ALL_RESTORED) {
      this.#finished = true;
      this.#handler.finished();
    } else if (pid <= 0) {
      this.#have = 0;
    }
  }
}

function unknown(what: string): MigrationError {
  return new MigrationError(
    "BAD_PEER",
    `Message that is not of criu restore --lazy-pages: ${what}: see that nothing else uses the socket`,
  );
}
