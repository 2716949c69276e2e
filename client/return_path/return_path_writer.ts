/** What the fault server says on the return path. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { doesNotRead, type SendingEnd } from "../../channel/sending_end.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { encodeName } from "../../migration/protocol/names.ts";
import { MAX_PAGE_REQUEST_BYTES, writePageRequest } from "../../migration/protocol/page_request.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import { ReturnPathMessage } from "./return_path_ring.ts";

/** Messages not yet taken by the socket: far more than a guest's threads can ask for. */
const OUTGOING_BYTES = 256 * 1024;
/** Room for them at first: it grows for a source that reads slowly. */
const FIRST_BYTES = 4 * 1024;

/** Gathers messages and gives them to the socket as it takes them. Requests allocate nothing. */
export class ReturnPathWriter {
  readonly #end: SendingEnd;
  readonly #names: readonly Uint8Array[];
  #outgoing = new Uint8Array(FIRST_BYTES);
  #filled = 0;
  #lastBlock = -1;

  /**
   * @param end the return path
   * @param layout the blocks, whose indices requests name
   */
  constructor(end: SendingEnd, layout: RamLayout) {
    this.#end = end;
    this.#names = layout.blocks.map((block) => encodeName(block.name));
  }

  /** Goes on with another connection: of what was not sent nothing is kept, and the next request names its block. */
  replace(connection: ConnectionInit): void {
    this.clear();
    this.#end.replace(connection);
  }

  /** What to poll for room. */
  get fd(): number {
    return this.#end.fd;
  }

  /** True when what is added now is far from being too much. */
  get hasRoom(): boolean {
    return this.#filled < OUTGOING_BYTES / 2;
  }

  /** True when something waits for room in the socket. */
  get pending(): boolean {
    return this.#filled > 0;
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
    this.#makeRoom(MAX_PAGE_REQUEST_BYTES);
    const name = index === this.#lastBlock ? undefined : this.#names[index]!;
    this.#lastBlock = index;
    this.#filled = writePageRequest(this.#outgoing, this.#filled, start, length, name);
  }

  /**
   * Adds a PONG, a SHUT, or the answer to RESUME.
   *
   * @param kind one of {@linkcode ReturnPathMessage}
   * @throws {MigrationError} when the source has read nothing for thousands of messages
   */
  answer(kind: number, value: number): void {
    const encoder = new ReturnPathEncoder();
    if (kind === ReturnPathMessage.PONG) encoder.pong(value >>> 0);
    else if (kind === ReturnPathMessage.SHUT) encoder.shut(value);
    else encoder.resumeAck(value);
    this.add(encoder.take());
  }

  /**
   * Adds a message, or a part of one, in its bytes.
   *
   * @throws {MigrationError} when the source has read nothing for thousands of messages
   */
  add(message: Uint8Array): void {
    this.#makeRoom(message.length);
    this.#outgoing.set(message, this.#filled);
    this.#filled += message.length;
  }

  /**
   * Gives the socket what it takes now.
   *
   * @throws {MigrationError} when the source is gone
   */
  flush(): void {
    if (this.#filled === 0) return;
    const sent = this.#end.offer(this.#outgoing, this.#filled);
    if (sent < this.#filled) this.#outgoing.copyWithin(0, sent, this.#filled);
    this.#filled -= sent;
  }

  /** Ends the connection, in both directions and for whoever uses it: the source notices. */
  hangUp(): void {
    this.clear();
    this.#end.hangUp();
  }

  /** Forgets what was not sent. */
  clear(): void {
    this.#filled = 0;
    this.#lastBlock = -1;
  }

  #makeRoom(bytes: number): void {
    const needed = this.#filled + bytes;
    let { length } = this.#outgoing;
    if (needed <= length) return;
    if (needed > OUTGOING_BYTES) throw doesNotRead(this.#end.role);
    while (length < needed) length *= 2;
    const grown = new Uint8Array(length);
    grown.set(this.#outgoing);
    this.#outgoing = grown;
  }
}
