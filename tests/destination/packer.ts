/** Compressed pages for a scripted source to send. */

import { compressionLibrary, openCompressor } from "../../ffi/compression/codec.ts";
import { type CompressionMethod, PACKED_BYTES } from "../../migration/compression.ts";

// Outside of any test, where the resource sanitizer takes a library for a leak.
compressionLibrary("zlib");

/** Compresses pages, each into bytes of its own. */
export function packer(
  method: CompressionMethod,
): Disposable & ((page: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>) {
  const compressor = openCompressor(method, 1);
  const to = new Uint8Array(PACKED_BYTES);
  return Object.assign(
    (page: Uint8Array<ArrayBuffer>) => to.slice(0, compressor.compress(page, to)),
    { [Symbol.dispose]: () => compressor[Symbol.dispose]() },
  );
}
