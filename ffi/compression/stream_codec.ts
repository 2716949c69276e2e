/** Streams that go in flushed pieces and never end, compressed and decompressed: what a multifd channel carries. */

import type { CodecMethod } from "./codec.ts";
import type { StreamCompressor, StreamDecompressor } from "./flushed_stream.ts";
import { chooseLibrary } from "./library_choice.ts";
import { LIBZ, openLibz } from "./libz.ts";
import { LibzDeflater, LibzStream } from "./libz_stream.ts";
import { LIBZSTD, openLibzstd } from "./libzstd.ts";
import { LibzstdCompressingStream, LibzstdStream } from "./libzstd_stream.ts";

export type { StreamCompressor, StreamDecompressor } from "./flushed_stream.ts";

const LIBRARIES = {
  zlib: {
    library: LIBZ,
    used: `${LIBZ} is used`,
    remedy: "apt-get install zlib1g",
    open: openLibz,
    make: (): StreamDecompressor => new LibzStream(),
    compressor: (level: number): StreamCompressor => new LibzDeflater(level),
  },
  zstd: {
    library: LIBZSTD,
    used: `${LIBZSTD} is used`,
    remedy: "apt-get install libzstd1",
    open: openLibzstd,
    make: (): StreamDecompressor => new LibzstdStream(),
    compressor: (level: number): StreamCompressor => new LibzstdCompressingStream(level),
  },
} as const;

/**
 * Makes a decompressor of one stream.
 *
 * @throws {CompressionError} when this host has no library, with what to install, or it has no memory
 */
export function openStreamDecompressor(method: CodecMethod): StreamDecompressor {
  return chooseLibrary(method, [LIBRARIES[method]]).candidate.make();
}

/**
 * Makes a compressor of one stream.
 *
 * @param level one that checkCompressionLevel lets through
 * @throws {CompressionError} when this host has no library, with what to install, or it has no memory
 */
export function openStreamCompressor(method: CodecMethod, level: number): StreamCompressor {
  return chooseLibrary(method, [LIBRARIES[method]]).candidate.compressor(level);
}
