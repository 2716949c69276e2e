/** Pages on the preempt channel: none is ever asked for, but a source may send some there. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { MAX_ELEMENT_BYTES } from "../../migration/protocol/constants.ts";
import { type PreemptPages, PreemptRecords } from "../incoming/preempt_records.ts";
import type { ImageMemory } from "./image_memory.ts";
import { Counter, type ReceiveState } from "./receive_state.ts";

/** Puts the pages of a preempt channel into the image, on its task's thread. */
export class ImagePreemptPages implements PreemptPages, Disposable {
  readonly #memory: ImageMemory;
  readonly #state: ReceiveState;
  readonly #records: PreemptRecords;
  readonly #buffer = MappedMemory.anonymous(MAX_ELEMENT_BYTES);
  #selected = -1;

  /**
   * @param connection the channel, closed by its owner
   * @param memory where its pages go; the block list has come
   * @param state gets the figures
   */
  constructor(connection: ConnectionInit, memory: ImageMemory, state: ReceiveState) {
    this.#memory = memory;
    this.#state = state;
    const { address } = this.#buffer;
    const input = { bytes: this.#buffer.bytes(), capacity: MAX_ELEMENT_BYTES, address };
    this.#records = new PreemptRecords(connection, input, this, state.get(Counter.PAGE_SIZE));
  }

  /** What to poll for. */
  get fd(): number {
    return this.#records.fd;
  }

  /** False once the source has closed it. */
  get open(): boolean {
    return !this.#records.disconnected;
  }

  /** True once the source has said that no page follows (QEMU 7.2). */
  get marked(): boolean {
    return this.#records.marked;
  }

  /**
   * Takes a piece of what has come.
   *
   * @returns false once the source has closed it; whether something is missing then the main channel
   * tells
   * @throws {ProtocolError} when it is no page
   */
  receive(): boolean {
    const count = this.#records.receive();
    if (count > 0) this.#take(count);
    return this.open;
  }

  select(name: string): void {
    this.#memory.select(name);
  }

  page(offset: number, bytes: Uint8Array, at: number): void {
    this.#memory.page(offset, bytes, at, this.#buffer.address + at);
  }

  zeroPage(offset: number): void {
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
    const memory = this.#memory;
    // "The same block as before" is meant for each channel by itself.
    const main = memory.selected;
    memory.selected = this.#selected;
    this.#records.decode();
    memory.flush();
    this.#selected = memory.selected;
    memory.selected = main;
  }
}
