/** zlib streams that are deflated or inflated piece by piece. */

import {
  LIBZ,
  MAX_WINDOW_BITS,
  newDeflate,
  openLibz,
  VERSION,
  Z_BUF_ERROR,
  Z_OK,
  ZStream,
} from "./libz.ts";
import { OwnedContext } from "./owned_context.ts";
import { compressionFailure } from "./page_codec.ts";
import type { StreamCompressor, StreamDecompressor } from "./flushed_stream.ts";

// From zlib.h.
const Z_SYNC_FLUSH = 2;

/** {@linkcode StreamDecompressor} of zlib. */
export class LibzStream extends OwnedContext<ZStream> implements StreamDecompressor {
  readonly library: string = LIBZ;
  readonly #functions = openLibz();

  /** @throws {CompressionError} when the library has no memory */
  constructor() {
    const functions = openLibz();
    const stream = new ZStream();
    const { address } = stream;
    const code = functions.inflateInit2_(address, MAX_WINDOW_BITS, VERSION, ZStream.BYTES);
    if (code !== Z_OK) {
      stream.close();
      throw compressionFailure(LIBZ, `inflateInit2: code ${code}`);
    }
    super(stream, (stream) => {
      functions.inflateEnd(stream.address);
      stream.close();
    });
  }

  decompress(from: number, length: number, to: number, room: number): number {
    const stream = this.context;
    stream.aimAt(from, length, to, room);
    const code = this.#functions.inflate(stream.address, Z_SYNC_FLUSH);
    // With nothing to be done it says that there is no room: a piece may be all of a flush's marker.
    if (code !== Z_OK && code !== Z_BUF_ERROR) return -1; // the end, too: QEMU never ends it
    return stream.unread > 0 ? -1 : room - stream.unwritten;
  }
}

/** {@linkcode StreamCompressor} of zlib. */
export class LibzDeflater extends OwnedContext<ZStream> implements StreamCompressor {
  readonly library: string = LIBZ;
  readonly #functions = openLibz();

  /**
   * @param level 0 to 9
   * @throws {CompressionError} when the library refuses the level or has no memory
   */
  constructor(level: number) {
    const functions = openLibz();
    super(newDeflate(level), (stream) => {
      functions.deflateEnd(stream.address);
      stream.close();
    });
  }

  compress(from: number, length: number, to: number, room: number): number {
    const stream = this.context;
    stream.aimAt(from, length, to, room);
    const code = this.#functions.deflate(stream.address, Z_SYNC_FLUSH);
    if (code !== Z_OK) throw compressionFailure(LIBZ, `deflate: ${stream.message(code)}`);
    // With no room left some of the flush may not have been written.
    if (stream.unread > 0 || stream.unwritten === 0) {
      throw compressionFailure(LIBZ, `deflate: ${length} bytes do not fit into ${room}`);
    }
    return room - stream.unwritten;
  }
}
