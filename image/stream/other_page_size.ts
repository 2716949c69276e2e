/** Telling a machine with pages of another size from a damaged file. */

import {
  type Configuration,
  DEFAULT_TARGET_PAGE_SIZE,
  IgnoreStream,
  ProtocolError,
  StreamDecoder,
  TARGET_PAGE_BITS,
} from "../../migration/protocol/mod.ts";

/**
 * A stream names its page size only where it is larger than the smallest that its architecture knows:
 * an old Arm's pages of 1 KiB are never named, nor those of 8 KiB where all have them (alpha, sparc64,
 * openrisc). Their records do not read as records of another size, for long.
 *
 * @param start the first bytes of a stream that cannot be read with pages of 4096 bytes
 * @returns bytes of a page with which it can be read; undefined when there is none, or when it is named
 */
export function otherPageSize(start: Uint8Array): number | undefined {
  for (let bits = TARGET_PAGE_BITS.MIN; bits <= TARGET_PAGE_BITS.MAX; bits++) {
    const size = 2 ** bits;
    if (size !== DEFAULT_TARGET_PAGE_SIZE && readsWith(start, size)) return size;
  }
  return undefined;
}

/** Finds out whether pages are of a size: some came, and all that came are of it. */
class Probe extends IgnoreStream {
  named = false;
  pages = 0;
  #blocks = new Map<string, number>();
  #usedLength = 0;
  readonly #size: number;
  /** A page is where no block has one. */
  outside = false;

  constructor(size: number) {
    super();
    this.#size = size;
  }

  override configuration({ targetPageBits }: Configuration): void {
    this.named = targetPageBits !== undefined;
  }

  override blockEntry({ name, usedLength }: { name: string; usedLength: number }): void {
    this.#blocks.set(name, usedLength);
    if (usedLength % this.#size !== 0) this.outside = true;
  }

  override block(name: string): void {
    this.#usedLength = this.#blocks.get(name) ?? 0;
  }

  override page(offset: number): void {
    this.pages++;
    if (offset >= this.#usedLength) this.outside = true;
  }

  override zeroPage(offset: number): void {
    if (offset >= this.#usedLength) this.outside = true;
  }
}

function readsWith(start: Uint8Array, size: number): boolean {
  const probe = new Probe(size);
  try {
    new StreamDecoder(probe, { targetPageSize: size }).decode(start, 0, start.length);
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
  return !probe.named && !probe.outside && probe.pages > 0;
}
