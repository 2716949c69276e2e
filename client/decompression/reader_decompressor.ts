/** Decompression on the thread that reads. */

import {
  CompressionError,
  openDecompressor,
  type PageDecompressor,
  type Unpacked,
} from "../../ffi/compression/codec.ts";
import {
  COMPRESSIBLE_PAGE_BYTES,
  type CompressionMethod,
  PACKED_BYTES,
} from "../../migration/compression.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { OWN_SLOTS, packedAt, pageAt } from "./decompression.ts";
import type { ReceiveBuffer } from "../../channel/receive_buffer.ts";

/** What the reading thread decompresses with: its context, and views of its own slots, made once. */
export class ReaderDecompressor implements Disposable {
  readonly #buffer: ReceiveBuffer;
  readonly #decompressor: PageDecompressor;
  readonly #packed: readonly Uint8Array<ArrayBuffer>[];
  readonly #pages: readonly Uint8Array<ArrayBuffer>[];

  /**
   * @param method how the pages are compressed
   * @param buffer has the slots behind it
   * @param first the first of the reader's own slots
   * @throws {MigrationError} when this host has no library for the method, with what to install
   */
  constructor(method: CompressionMethod, buffer: ReceiveBuffer, first: number) {
    this.#buffer = buffer;
    this.#decompressor = openOrRefuse(method);
    const own = Array.from({ length: OWN_SLOTS }, (_, index) => first + index);
    this.#packed = own.map((slot) => this.#packedOf(slot));
    this.#pages = own.map((slot) => this.#pageOf(slot));
  }

  /**
   * Decompresses what lies in one of the reader's own slots.
   *
   * @param own which of them, from 0
   * @param length bytes of the compressed page
   */
  unpack(own: number, length: number): Unpacked {
    return this.#decompressor.decompress(this.#packed[own]!, length, this.#pages[own]!);
  }

  /** Decompresses what a thread that is gone left in its slot. */
  unpackLeft(slot: number, length: number): Unpacked {
    return this.#decompressor.decompress(this.#packedOf(slot), length, this.#pageOf(slot));
  }

  /** Frees the context. */
  close(): void {
    this.#decompressor.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #packedOf(slot: number): Uint8Array<ArrayBuffer> {
    const at = this.#buffer.keptAt + packedAt(slot);
    return this.#buffer.bytes.subarray(at, at + PACKED_BYTES);
  }

  #pageOf(slot: number): Uint8Array<ArrayBuffer> {
    const at = this.#buffer.keptAt + pageAt(slot);
    return this.#buffer.bytes.subarray(at, at + COMPRESSIBLE_PAGE_BYTES);
  }
}

function openOrRefuse(method: CompressionMethod): PageDecompressor {
  try {
    return openDecompressor(method);
  } catch (cause) {
    if (!(cause instanceof CompressionError)) throw cause;
    throw new MigrationError("UNSUPPORTED", cause.message, { cause });
  }
}
