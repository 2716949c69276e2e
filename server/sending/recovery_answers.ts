/** What a paused destination answers when its migration goes on: which pages it has. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamBlock, RamLayout } from "../../migration/memory/ram_layout.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { bitmapBytes } from "../../migration/protocol/bitmap_codec.ts";

/** What the destination was heard to say. */
export type RecoveryMessage =
  /** The receive bitmaps of all blocks are here. */
  | { readonly kind: "bitmaps" }
  /** It goes on, and asks for pages again. */
  | { readonly kind: "resumed" };

/** The value that the destination goes on with, as QEMU's sends it. */
const RESUME_ACK = 1;

/**
 * Hears the receive bitmaps and the word that the destination goes on. The bitmaps are the truth: every
 * page that is not in one is unsent from here on, whatever was sent before, and every other is not.
 */
export class RecoveryAnswers {
  readonly #layout: RamLayout;
  readonly #dirty: PageBitmap;
  readonly #tell: (message: RecoveryMessage) => void;
  readonly #left: Set<RamBlock>;
  #block: RamBlock | undefined;
  #at = 0;
  #resumed: boolean;

  /**
   * @param layout the blocks
   * @param dirty pages that no sender has claimed; no sender is there yet
   * @param expected whether a migration goes on that was paused; else every answer is a mistake
   * @param tell called with what the control plane must know
   */
  constructor(
    layout: RamLayout,
    dirty: PageBitmap,
    expected: boolean,
    tell: (message: RecoveryMessage) => void,
  ) {
    this.#layout = layout;
    this.#dirty = dirty;
    this.#tell = tell;
    this.#left = new Set(expected ? layout.blocks : []);
    this.#resumed = !expected;
  }

  /** True when pages may be asked for. */
  get resumed(): boolean {
    return this.#resumed;
  }

  /**
   * A receive bitmap begins.
   *
   * @param size bytes of it
   * @throws {MigrationError} for one that nobody asked for, or of another size than the block's
   */
  begin(name: string, size: number): void {
    const block = this.#layout.find(name);
    if (block === undefined || !this.#left.delete(block)) {
      throw new MigrationError(
        "BAD_PEER",
        `Destination sent a receive bitmap that nobody asked for: block ${name}`,
      );
    }
    const expected = bitmapBytes(block.pageCount);
    if (size !== expected) {
      throw new MigrationError(
        "BAD_PEER",
        `Receive bitmap of block ${name} must have ${expected} bytes: ${size}: the destination has ` +
          "another machine, or pages of another size",
      );
    }
    this.#block = block;
    this.#at = 0;
    this.#dirty.fill(block.firstPage, block.pageCount);
  }

  /** A piece of it. */
  add(bytes: Uint8Array, at: number, length: number): void {
    this.#dirty.clearBits(this.#block!.firstPage + this.#at * 8, bytes, at, length);
    this.#at += length;
  }

  /** Its end. */
  end(): void {
    this.#block = undefined;
    if (this.#left.size === 0) this.#tell({ kind: "bitmaps" });
  }

  /**
   * The destination goes on.
   *
   * @throws {MigrationError} when it was not paused, or says another word than QEMU's
   */
  resume(value: number): void {
    if (this.#resumed || this.#left.size > 0 || value !== RESUME_ACK) {
      throw new MigrationError("BAD_PEER", `Destination resumes what was not paused: ${value}`);
    }
    this.#resumed = true;
    this.#tell({ kind: "resumed" });
  }
}
