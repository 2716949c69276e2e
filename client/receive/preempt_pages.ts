/** Pages on the preempt channel: none is ever asked for, but a source may send some there. */

import { Errno } from "../../ffi/errno.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { receive } from "../../ffi/socket_calls.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { MAX_ELEMENT_BYTES } from "../../migration/protocol/constants.ts";
import { IgnoreStream } from "../../migration/protocol/stream.ts";
import { RamDecoder } from "../../migration/protocol/ram_decoder.ts";
import type { ImageMemory } from "./image_memory.ts";
import { Counter, type ReceiveState } from "./receive_state.ts";

/** Reads the preempt channel without waiting, on the worker's thread. */
export class PreemptPages extends IgnoreStream implements Disposable {
  readonly #fd: number;
  readonly #memory: ImageMemory;
  readonly #state: ReceiveState;
  readonly #decoder: RamDecoder;
  readonly #buffer = MappedMemory.anonymous(MAX_ELEMENT_BYTES);
  readonly #bytes = this.#buffer.bytes();
  #filled = 0;
  #selected = -1;
  #open = true;

  /**
   * @param fd the channel's socket, closed by its owner
   * @param memory where its pages go; the block list has come
   * @param state gets the figures
   */
  constructor(fd: number, memory: ImageMemory, state: ReceiveState) {
    super();
    this.#fd = fd;
    this.#memory = memory;
    this.#state = state;
    this.#decoder = new RamDecoder(this, { targetPageSize: state.get(Counter.PAGE_SIZE) });
  }

  /** False once the source has closed it. */
  get open(): boolean {
    return this.#open;
  }

  /**
   * Takes what has come.
   *
   * @returns false once the source has closed it; whether something is missing then the main channel
   * tells
   * @throws {ProtocolError} when it is no page
   */
  receive(): boolean {
    while (this.#open) {
      const room = MAX_ELEMENT_BYTES - this.#filled;
      const count = receive(this.#fd, BigInt(this.#buffer.address + this.#filled), room);
      if (count > 0) this.#take(count);
      else if (count === -Errno.EAGAIN) break;
      else if (count !== -Errno.EINTR) this.#open = false;
    }
    return this.#open;
  }

  override block(name: string): void {
    this.#memory.select(name);
  }

  override page(offset: number, bytes: Uint8Array, at: number): void {
    this.#memory.page(offset, bytes, at, this.#buffer.address + at);
  }

  override zeroPage(offset: number, fill: number): void {
    if (fill !== 0) {
      throw new MigrationError("UNSUPPORTED", `Page filled with a byte that is not 0: ${fill}`);
    }
    this.#memory.zeroPage(offset);
  }

  /** Frees its buffer. */
  close(): void {
    this.#buffer.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #take(count: number): void {
    this.#state.add(Counter.PREEMPT_BYTES, count);
    const end = this.#filled + count;
    const memory = this.#memory;
    // "The same block as before" is meant for each channel by itself.
    const main = memory.selected;
    memory.selected = this.#selected;
    const decoded = this.#decoder.decode(this.#bytes, 0, end);
    memory.flush();
    this.#selected = memory.selected;
    memory.selected = main;
    if (decoded < end) this.#bytes.copyWithin(0, decoded, end);
    this.#filled = end - decoded;
  }
}
