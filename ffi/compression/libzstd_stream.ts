/** zstd streams that are compressed or decompressed piece by piece. */

import { MappedMemory } from "../memory.ts";
import { LEAST_ERROR, LIBZSTD, newZstdContext, openLibzstd, zstdFailure } from "./libzstd.ts";
import { OwnedContext } from "./owned_context.ts";
import { compressionFailure } from "./page_codec.ts";
import type { StreamCompressor, StreamDecompressor } from "./flushed_stream.ts";
import { COMPRESSION_LEVEL } from "./zstd_frame.ts";

// ZSTD_outBuffer and ZSTD_inBuffer of zstd.h (LP64), one behind the other: address, size, position.
const OUT = { ADDRESS: 0, SIZE: 1, POSITION: 2 } as const;
const IN = { ADDRESS: 3, SIZE: 4, POSITION: 5 } as const;
const IN_BYTE = IN.ADDRESS * 8;
/** Of ZSTD_EndDirective in zstd.h. */
const ZSTD_E_FLUSH = 1;

/** The two structs in which the library is told where it reads and writes. */
class StreamBuffers {
  readonly #memory = MappedMemory.anonymous(4096);
  readonly #words = new BigUint64Array(this.#memory.bytes().buffer);
  /** Addresses of the structs. */
  readonly out = BigInt(this.#memory.address);
  readonly in = BigInt(this.#memory.address + IN_BYTE);

  /** Sets where a piece lies, and where what comes of it goes. */
  aim(from: number, length: number, to: number, room: number): void {
    const words = this.#words;
    words[OUT.ADDRESS] = BigInt(to);
    words[OUT.SIZE] = BigInt(room);
    words[OUT.POSITION] = 0n;
    words[IN.ADDRESS] = BigInt(from);
    words[IN.SIZE] = BigInt(length);
    words[IN.POSITION] = 0n;
  }

  /** Changes whenever the library gets on. */
  get progress(): bigint {
    return this.#words[IN.POSITION]! + this.#words[OUT.POSITION]!;
  }

  /** Whether all of the piece was read. */
  get allRead(): boolean {
    return this.#words[IN.POSITION] === this.#words[IN.SIZE];
  }

  /** Whether there is no room left. */
  get full(): boolean {
    return this.#words[OUT.POSITION] === this.#words[OUT.SIZE];
  }

  /** Bytes written. */
  get written(): number {
    return Number(this.#words[OUT.POSITION]);
  }

  close(): void {
    this.#memory.close();
  }
}

interface Context {
  readonly stream: Deno.PointerObject;
  readonly buffers: StreamBuffers;
}

/** {@linkcode StreamDecompressor} of libzstd. */
export class LibzstdStream extends OwnedContext<Context> implements StreamDecompressor {
  readonly library: string = LIBZSTD;
  readonly #functions = openLibzstd();

  /** @throws {CompressionError} when the library has no memory */
  constructor() {
    const functions = openLibzstd();
    const stream = functions.ZSTD_createDCtx();
    if (stream === null) throw compressionFailure(LIBZSTD, "no memory for a decompressor");
    super({ stream, buffers: new StreamBuffers() }, (context) => {
      functions.ZSTD_freeDCtx(context.stream);
      context.buffers.close();
    });
  }

  decompress(from: number, length: number, to: number, room: number): number {
    const { stream, buffers } = this.context;
    buffers.aim(from, length, to, room);
    // It may stop behind a block although there is more to read, but not without getting on.
    while (true) {
      const before = buffers.progress;
      const result = this.#functions.ZSTD_decompressStream(stream, buffers.out, buffers.in);
      if (result >= LEAST_ERROR) return -1;
      const stuck = buffers.progress === before;
      if (!buffers.allRead) {
        if (stuck) return -1; // no room
        continue;
      }
      // All is read; what the library keeps is written as long as there is room and it gives some.
      if (buffers.full || stuck) return buffers.written;
    }
  }
}

/** {@linkcode StreamCompressor} of libzstd. */
export class LibzstdCompressingStream extends OwnedContext<Context> implements StreamCompressor {
  readonly library: string = LIBZSTD;
  readonly #functions = openLibzstd();

  /**
   * @param level any of the library's
   * @throws {CompressionError} when the library refuses the level or has no memory
   */
  constructor(level: number) {
    const functions = openLibzstd();
    // Without a checksum, which stands at a frame's end: this one has none.
    const stream = newZstdContext([[COMPRESSION_LEVEL, level]]);
    super({ stream, buffers: new StreamBuffers() }, (context) => {
      functions.ZSTD_freeCCtx(context.stream);
      context.buffers.close();
    });
  }

  compress(from: number, length: number, to: number, room: number): number {
    const { stream, buffers } = this.context;
    buffers.aim(from, length, to, room);
    while (true) {
      const before = buffers.progress;
      const { out, in: source } = buffers;
      const left = this.#functions.ZSTD_compressStream2(stream, out, source, ZSTD_E_FLUSH);
      if (left >= LEAST_ERROR) throw zstdFailure(left);
      if (left === 0 && buffers.allRead) return buffers.written;
      if (buffers.full || buffers.progress === before) {
        throw compressionFailure(LIBZSTD, `${length} bytes do not fit into ${room}`);
      }
    }
  }
}
