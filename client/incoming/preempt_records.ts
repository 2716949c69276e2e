/** The records of a preempt channel. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { type Input, ReceivingEnd } from "../../channel/receiving_end.ts";
import { FROM_SOURCE } from "../../channel/role.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { RamDecoder } from "../../migration/protocol/ram_decoder.ts";
import { IgnoreStream } from "../../migration/protocol/stream.ts";

/** Where the pages of a preempt channel go. Offsets are checked there. */
export interface PreemptPages {
  /** The pages that follow are of this block. */
  select(name: string): void;
  /** A page: its content is `bytes[at..]` during the call. */
  page(offset: number, bytes: Uint8Array, at: number): void;
  /** A zero page. */
  zeroPage(offset: number): void;
}

/** Reads a preempt channel without waiting; the decoder lets nothing but pages and the end mark through. */
export class PreemptRecords extends IgnoreStream {
  readonly #end: ReceivingEnd;
  readonly #decoder: RamDecoder;
  readonly #pages: PreemptPages;
  #marked = false;

  /**
   * @param connection the channel
   * @param input what is received into; stays the caller's
   * @param pages where its pages go
   * @param targetPageSize bytes of a target page
   */
  constructor(
    connection: ConnectionInit,
    input: Input,
    pages: PreemptPages,
    targetPageSize: number,
  ) {
    super();
    this.#end = new ReceivingEnd(connection, FROM_SOURCE.PREEMPT, input);
    this.#decoder = new RamDecoder(this, { targetPageSize });
    this.#pages = pages;
  }

  /** What to poll for. */
  get fd(): number {
    return this.#end.fd;
  }

  /** True once the source has said that no page follows (QEMU 7.2), or is gone. */
  get ended(): boolean {
    return this.#marked || this.#end.ended;
  }

  /** True once the source has said that no page follows. */
  get marked(): boolean {
    return this.#marked;
  }

  /** True once the connection has ended. */
  get disconnected(): boolean {
    return this.#end.ended;
  }

  /** True when the source closed it between two records. */
  get closedWhole(): boolean {
    return this.#end.closed && this.#end.empty;
  }

  /** The error for a channel that ended where it should not. */
  lost(): MigrationError {
    return this.#end.lost();
  }

  /** Takes what has come, without waiting; returns bytes, for {@linkcode PreemptRecords.decode}. */
  receive(): number {
    return this.#end.receive();
  }

  /**
   * Passes the pages on that have come in full.
   *
   * @throws {ProtocolError} when what came is no page
   * @throws {MigrationError} when it cannot be placed
   */
  decode(): void {
    this.#end.decode(this.#decoder);
  }

  override block(name: string): void {
    this.#pages.select(name);
  }

  override page(offset: number, bytes: Uint8Array, at: number): void {
    this.#pages.page(offset, bytes, at);
  }

  override zeroPage(offset: number, fill: number): void {
    if (fill !== 0) {
      throw new MigrationError("UNSUPPORTED", `Page filled with a byte that is not 0: ${fill}`);
    }
    this.#pages.zeroPage(offset);
  }

  override endOfSection(): void {
    this.#marked = true;
  }
}
