/** Pages that came compressed, for a test on one thread: it waits where a task would give way to others. */

import { assertEquals } from "@std/assert";
import type { DecompressingPages } from "../../client/decompression/decompressing_pages.ts";
import type { IncomingMemory } from "../../client/incoming/incoming_memory.ts";
import { clearEvent } from "../../ffi/eventfd.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import type { AbsentPagesCommand } from "../../migration/protocol/command.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";

/** The same pages; whatever is held is there when a call returns. */
export class WaitingPages implements IncomingMemory, Disposable {
  readonly #pages: DecompressingPages;
  readonly #wakeFd: number;
  readonly #poll = new PollSet(1);
  /** Calls that had to wait. */
  waits = 0;

  /** @param wakeFd eventfd that is signalled for the reader */
  constructor(pages: DecompressingPages, wakeFd: number) {
    this.#pages = pages;
    this.#wakeFd = wakeFd;
    this.#poll.watch(0, wakeFd, PollEvents.IN);
  }

  get whole(): boolean {
    return this.#pages.whole;
  }

  open(machine: StreamMachine): void {
    this.#pages.open(machine);
  }

  compressedBy(method: CompressionMethod): void {
    this.#pages.compressedBy(method);
  }

  restart(): void {
    this.#pages.restart();
  }

  select(name: string): void {
    this.#pages.select(name);
  }

  page(offset: number, bytes: Uint8Array, at: number, address: number): void {
    this.#pages.page(offset, bytes, at, address);
    this.#wait();
  }

  zeroPage(offset: number): void {
    this.#pages.zeroPage(offset);
    this.#wait();
  }

  xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    this.#pages.xbzrlePage(offset, bytes, at, length);
    this.#wait();
  }

  compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    this.#pages.compressedPage(offset, bytes, at, length);
    this.#wait();
  }

  flush(): void {
    this.#pages.flush();
  }

  settled(): boolean {
    return this.#pages.settled();
  }

  /** Waits until every page that came is in place. */
  settle(): void {
    let settled = false;
    this.#pages.settle(() => settled = true);
    assertEquals(settled, !this.#pages.held);
    this.#wait();
    assertEquals(settled, true);
  }

  discard(command: DiscardCommand): void {
    this.#pages.discard(command);
    this.#wait();
  }

  absent(command: AbsentPagesCommand): void {
    this.#pages.absent(command);
  }

  listen(): void {
    this.#pages.listen();
    this.#wait();
  }

  close(): void {
    this.#pages.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #wait(): void {
    if (!this.#pages.held) return;
    this.waits++;
    while (!this.#pages.resume()) {
      assertEquals(this.#poll.wait(60_000), 1); // a call that was lost
      clearEvent(this.#wakeFd);
    }
    assertEquals(this.#pages.held, false);
  }
}
