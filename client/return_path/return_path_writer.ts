/** What the fault worker says on the return path. */

import { Errno, errnoName } from "../../ffi/errno.ts";
import { sendFrom } from "../../ffi/socket_calls.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { encodeName } from "../../migration/protocol/names.ts";
import { MAX_PAGE_REQUEST_BYTES, writePageRequest } from "../../migration/protocol/page_request.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import { ReturnPathMessage } from "./return_path_ring.ts";

/** Messages not yet taken by the socket: far more than a guest's threads can ask for. */
const OUTGOING_BYTES = 256 * 1024;

/** Gathers messages and gives them to the socket as it takes them. Requests allocate nothing. */
export class ReturnPathWriter {
  readonly #fd: number;
  readonly #names: readonly Uint8Array[];
  readonly #outgoing = new Uint8Array(OUTGOING_BYTES);
  #end = 0;
  #lastBlock = -1;

  /**
   * @param fd the main channel's socket
   * @param layout the blocks, whose indices requests name
   */
  constructor(fd: number, layout: RamLayout) {
    this.#fd = fd;
    this.#names = layout.blocks.map((block) => encodeName(block.name));
  }

  /** True when something waits for room in the socket. */
  get pending(): boolean {
    return this.#end > 0;
  }

  /**
   * Adds a request for pages.
   *
   * @param index of the block; named only when it is not the previous request's
   * @param start bytes from the start of the block
   * @param length bytes
   * @throws {MigrationError} when the source has read nothing for thousands of messages
   */
  request(index: number, start: number, length: number): void {
    this.#checkRoom();
    const name = index === this.#lastBlock ? undefined : this.#names[index]!;
    this.#lastBlock = index;
    this.#end = writePageRequest(this.#outgoing, this.#end, start, length, name);
  }

  /**
   * Adds a PONG or a SHUT.
   *
   * @param kind one of {@linkcode ReturnPathMessage}
   * @throws {MigrationError} when the source has read nothing for thousands of messages
   */
  answer(kind: number, value: number): void {
    this.#checkRoom();
    const encoder = new ReturnPathEncoder();
    if (kind === ReturnPathMessage.PONG) encoder.pong(value >>> 0);
    else encoder.shut(value);
    const message = encoder.take();
    this.#outgoing.set(message, this.#end);
    this.#end += message.length;
  }

  /**
   * Gives the socket what it takes now.
   *
   * @throws {MigrationError} when the source is gone
   */
  flush(): void {
    if (this.#end === 0) return;
    const sent = sendFrom(this.#fd, this.#outgoing, this.#end);
    if (sent >= 0) {
      if (sent < this.#end) this.#outgoing.copyWithin(0, sent, this.#end);
      this.#end -= sent;
    } else if (sent !== -Errno.EAGAIN && sent !== -Errno.EINTR) {
      throw new MigrationError(
        "CONNECTION_LOST",
        `Source went away: return path: ${errnoName(-sent)}`,
      );
    }
  }

  /** Forgets what was not sent. */
  clear(): void {
    this.#end = 0;
  }

  #checkRoom(): void {
    if (this.#end + MAX_PAGE_REQUEST_BYTES > OUTGOING_BYTES) {
      throw new MigrationError("CONNECTION_LOST", "Source does not read the return path");
    }
  }
}
