/** What is said to and by the page server of CRIU, in the byte order of its host (criu/page-xfer.c). */

import type { HeaderBytes } from "./criu_task.ts";

/** Commands, in the low 16 bits of the first word. */
export const PageCommand = {
  /** Pages follow. */
  ADD: 6,
  /** Asks for pages. */
  GET: 7,
  /** The end: all is there. Answered by four bytes of zero. */
  CLOSE: 0x1023,
  /** None that CRIU knows: it ends the dump as one that failed, and the processes go on at the source. */
  GIVE_UP: 0xffff,
} as const;
/** In the high 16 bits: the pages are there. */
const PRESENT = 4;
const COMMAND_BITS = 0xffff;

/** Reads and writes headers. One end's own. */
export class PageHeader {
  /** Bytes of a header. */
  readonly length: HeaderBytes;
  /** One header, as it was made last. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #wide: boolean;

  /** @param length of a header: 24 up to CRIU 4.1; 32 from 4.2 on, whose number of pages has 64 bits */
  constructor(length: HeaderBytes) {
    this.length = length;
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
    this.#wide = length === 32;
  }

  /** Makes a header, in `bytes`. */
  make(command: number, pages = 0, address = 0, id = 0): void {
    const view = this.#view;
    const at = this.#wide ? 8 : 4;
    view.setUint32(0, command, true);
    this.#setNumber(at, pages, this.#wide);
    this.#setNumber(this.length - 16, address, true);
    this.#setNumber(this.length - 8, id, true);
  }

  /** Reads a header from an array. */
  read(bytes: Uint8Array, at: number): void {
    for (let index = 0; index < this.length; index++) this.bytes[index] = bytes[at + index]!;
  }

  /** Whether pages follow. */
  get hasPages(): boolean {
    const word = this.#view.getUint32(0, true);
    return (word & COMMAND_BITS) === PageCommand.ADD && (word >>> 16 & PRESENT) !== 0;
  }

  /** How many. */
  get pages(): number {
    return this.#wide ? this.#number(8) : this.#view.getUint32(4, true);
  }

  /** Of the first. */
  get address(): number {
    return this.#number(this.length - 16);
  }

  /** Of the process, its number. */
  get id(): number {
    return this.#number(this.length - 8);
  }

  #number(at: number): number {
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32;
  }

  #setNumber(at: number, value: number, wide: boolean): void {
    this.#view.setUint32(at, value, true);
    if (wide) this.#view.setUint32(at + 4, value / 2 ** 32, true);
  }
}
