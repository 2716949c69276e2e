/** zlib itself: streams made once and reset for each page. */

import { MappedMemory } from "../memory.ts";
import { cString } from "../libc.ts";
import { OwnedContext } from "./owned_context.ts";
import {
  checkPackedLength,
  compressionFailure,
  type PageCompressor,
  type PageDecompressor,
  Unpacked,
} from "./page_codec.ts";
import { ViewAddresses } from "./view_addresses.ts";

/** The file that is opened. */
export const LIBZ = "libz.so.1";

// From zlib.h; the names with an underscore are what its macros call.
const SYMBOLS = {
  deflateInit2_: {
    parameters: [
      "u64", /* z_stream */
      "i32", /* level */
      "i32", /* method */
      "i32", /* window bits */
      "i32", /* memory level */
      "i32", /* strategy */
      "buffer", /* version */
      "i32", /* bytes of a z_stream */
    ],
    result: "i32",
  },
  deflate: { parameters: ["u64", /* z_stream */ "i32" /* flush */], result: "i32" },
  deflateReset: { parameters: ["u64" /* z_stream */], result: "i32" },
  deflateEnd: { parameters: ["u64" /* z_stream */], result: "i32" },
  inflateInit2_: {
    parameters: [
      "u64", /* z_stream */
      "i32", /* window bits */
      "buffer", /* version */
      "i32", /* bytes of a z_stream */
    ],
    result: "i32",
  },
  inflate: { parameters: ["u64", /* z_stream */ "i32" /* flush */], result: "i32" },
  inflateReset: { parameters: ["u64" /* z_stream */], result: "i32" },
  inflateEnd: { parameters: ["u64" /* z_stream */], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

// From zlib.h and zconf.h.
const Z_FINISH = 4;
export const Z_OK = 0;
const Z_STREAM_END = 1;
export const Z_BUF_ERROR = -5;
const Z_DEFLATED = 8;
const Z_DEFAULT_STRATEGY = 0;
export const MAX_WINDOW_BITS = 15;
/** As deflateInit has it; smaller windows and tables, which would do for a page, are no faster. */
const DEFAULT_MEMORY_LEVEL = 8;
/** Only the first digit of the version is compared, and 1 is that of every zlib with this z_stream. */
export const VERSION = cString("1");

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let symbols: Symbols | undefined;

/**
 * Opens the library; it stays open for the thread's life.
 *
 * @throws when this host does not have it
 */
export function openLibz(): Symbols {
  return symbols ??= Deno.dlopen(LIBZ, SYMBOLS).symbols;
}

/**
 * A z_stream of zlib.h (LP64): next_in at 0, avail_in (u32) 8, next_out 24, avail_out (u32) 32, msg 48.
 * It lies in memory of its own: the library's state points back to it.
 */
export class ZStream {
  /** Bytes of the struct. */
  static readonly BYTES = 112;
  readonly #memory = MappedMemory.anonymous(4096);
  readonly #words = new Uint32Array(this.#memory.bytes().buffer);
  readonly #addresses = new BigUint64Array(this.#words.buffer);
  readonly #known = new ViewAddresses();
  /** Its address, for the calls. */
  readonly address = BigInt(this.#memory.address);

  /** Sets what the next call reads and where it writes. */
  aim(from: Uint8Array<ArrayBuffer>, length: number, to: Uint8Array<ArrayBuffer>): void {
    this.#addresses[0] = this.#known.of(from);
    this.#words[2] = length;
    this.#addresses[3] = this.#known.of(to);
    this.#words[8] = to.length;
  }

  /** The same by addresses, of memory that its owner keeps. */
  aimAt(from: number, length: number, to: number, room: number): void {
    this.#addresses[0] = BigInt(from);
    this.#words[2] = length;
    this.#addresses[3] = BigInt(to);
    this.#words[8] = room;
  }

  /** Bytes not read yet. */
  get unread(): number {
    return this.#words[2]!;
  }

  /** Bytes not written yet. */
  get unwritten(): number {
    return this.#words[8]!;
  }

  /** What the library says of its last failure. */
  message(code: number): string {
    const pointer = Deno.UnsafePointer.create(this.#addresses[6]!);
    const text = pointer === null ? "" : ` (${Deno.UnsafePointerView.getCString(pointer)})`;
    return `code ${code}${text}`;
  }

  /** Frees the memory. */
  close(): void {
    this.#memory.close();
  }
}

/**
 * Makes a stream that deflates; the caller ends and closes it.
 *
 * @param level 0 to 9
 * @throws {CompressionError} when the library refuses the level or has no memory
 */
export function newDeflate(level: number): ZStream {
  const stream = new ZStream();
  const code = openLibz().deflateInit2_(
    stream.address,
    level,
    Z_DEFLATED,
    MAX_WINDOW_BITS,
    DEFAULT_MEMORY_LEVEL,
    Z_DEFAULT_STRATEGY,
    VERSION,
    ZStream.BYTES,
  );
  if (code === Z_OK) return stream;
  stream.close();
  throw compressionFailure(LIBZ, `deflateInit2 of level ${level}: code ${code}`);
}

/** {@linkcode PageCompressor} of zlib. */
export class LibzCompressor extends OwnedContext<ZStream> implements PageCompressor {
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

  compress(page: Uint8Array<ArrayBuffer>, to: Uint8Array<ArrayBuffer>): number {
    const stream = this.context;
    this.#functions.deflateReset(stream.address);
    stream.aim(page, page.length, to);
    const code = this.#functions.deflate(stream.address, Z_FINISH);
    if (code === Z_STREAM_END) return to.length - stream.unwritten;
    if (code === Z_OK || code === Z_BUF_ERROR) return 0; // it would go on with more room
    throw compressionFailure(LIBZ, `deflate: ${stream.message(code)}`);
  }
}

/** {@linkcode PageDecompressor} of zlib. */
export class LibzDecompressor extends OwnedContext<ZStream> implements PageDecompressor {
  readonly library: string = LIBZ;
  readonly #functions = openLibz();

  /** @throws {CompressionError} when the library has no memory */
  constructor() {
    const functions = openLibz();
    const stream = new ZStream();
    const code = functions.inflateInit2_(
      stream.address,
      MAX_WINDOW_BITS,
      VERSION,
      ZStream.BYTES,
    );
    if (code !== Z_OK) {
      stream.close();
      throw compressionFailure(LIBZ, `inflateInit2: code ${code}`);
    }
    super(stream, (stream) => {
      functions.inflateEnd(stream.address);
      stream.close();
    });
  }

  decompress(
    from: Uint8Array<ArrayBuffer>,
    length: number,
    page: Uint8Array<ArrayBuffer>,
  ): Unpacked {
    checkPackedLength(from, length);
    const stream = this.context;
    this.#functions.inflateReset(stream.address);
    stream.aim(from, length, page);
    const code = this.#functions.inflate(stream.address, Z_FINISH);
    if (code === Z_STREAM_END) {
      if (stream.unread > 0) return Unpacked.DAMAGED;
      return stream.unwritten === 0 ? Unpacked.PAGE : Unpacked.OTHER_SIZE;
    }
    // The page is full and the stream has not ended.
    const longer = code === Z_BUF_ERROR && stream.unwritten === 0 && stream.unread > 0;
    return longer ? Unpacked.OTHER_SIZE : Unpacked.DAMAGED;
  }
}
