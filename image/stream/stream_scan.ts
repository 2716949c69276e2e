/** Reading a file that QEMU wrote once, from its mapping, to find what is where. */

import type { MappedMemory } from "../../ffi/memory.ts";
import {
  deviceSections,
  parseVmDescription,
  ProtocolError,
  splitDeviceState,
  StreamDecoder,
  type VmDescription,
} from "../../migration/protocol/mod.ts";
import type { FileRange, StreamContents } from "./stream_contents.ts";
import { otherPageSize } from "./other_page_size.ts";
import { findRamStart } from "./early_sections.ts";
import type { DeviceSection } from "../image.ts";
import { DAMAGED_REMEDY, ImageError, TRUNCATED_REMEDY } from "../image_error.ts";
import type { OpenImageOptions } from "../open_image_options.ts";
import { type ContentsHandler, unsupportedPageSize } from "./contents_handler.ts";

/** Bytes decoded between two looks at the event loop. */
const BYTES_AT_ONCE = 64 * 1024 * 1024;
/** Bytes read at a time: what is read stays in the processor's cache. */
const WINDOW_BYTES = 1024 * 1024;
const NO_BYTES = new Uint8Array(0);
/** Device sections before the memory are small; the memory is not searched for the memory's start. */
const EARLY_SECTIONS_LIMIT = 64 * 1024 * 1024;

/** Bytes that are read again to find out what a machine's page size is. */
const PROBED_BYTES = 16 * 1024 * 1024;

/** Bytes in which devices and description are looked for: behind them a volume may go on for terabytes. */
const MOST_TAIL_BYTES = 512 * 1024 * 1024;

/** How to read the file. */
export type ScanOptions = Pick<OpenImageOptions, "signal" | "onProgress">;

/**
 * Reads a file that QEMU wrote, up to its device state. What becomes of the pages is the handler's
 * affair.
 *
 * @param path the image's name, for errors
 * @param image all of it
 * @param start where in it the stream begins, in bytes
 * @param openHandler makes what takes in the elements; it is made anew when device sections come
 * first, before it met a block
 * @throws {ImageError} when the image cannot be served
 */
export async function scanStream(
  path: string,
  image: MappedMemory,
  start: number,
  openHandler: () => ContentsHandler,
  options: ScanOptions = {},
): Promise<StreamContents> {
  const scan = new StreamScan(path, image, start, openHandler);
  while (!scan.done) {
    options.signal?.throwIfAborted();
    const end = scan.position + BYTES_AT_ONCE;
    do scan.step(); while (!scan.done && scan.position < end);
    options.onProgress?.(scan.position, image.length);
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
  }
  return scan.contents();
}

class StreamScan {
  readonly #path: string;
  readonly #image: MappedMemory;
  readonly #openHandler: () => ContentsHandler;
  readonly #start: number;
  readonly #window = new Uint8Array(WINDOW_BYTES);
  #handler: ContentsHandler;
  #decoder: StreamDecoder;
  #early: FileRange = { offset: 0, length: 0 };
  /** Offset in the file of the first byte that is not decoded. */
  position: number;

  constructor(
    path: string,
    image: MappedMemory,
    start: number,
    openHandler: () => ContentsHandler,
  ) {
    this.#path = path;
    this.#image = image;
    this.#openHandler = openHandler;
    this.#start = start;
    this.#handler = openHandler();
    this.#decoder = this.#newDecoder();
    this.position = start;
  }

  /** Device state was reached, which is not decoded further, or the end. */
  get done(): boolean {
    return this.#handler.opaqueStart >= 0 || this.position === this.#image.length;
  }

  /** Decodes the next window. */
  step(): void {
    const { position } = this;
    const length = this.#image.length - position;
    const passed = Math.min(this.#handler.regionEnd - position, length);
    if (passed > 0) {
      // The decoder passes over a mapped block's pages by counting, however many there are.
      this.position += this.#decode(NO_BYTES, position, passed);
      return;
    }
    const window = this.#window.subarray(0, Math.min(length, WINDOW_BYTES));
    this.#image.read(position, window);
    this.position += this.#decode(window, position);
    const { opaqueStart, ramSection } = this.#handler;
    if (opaqueStart >= 0 && ramSection === undefined) this.#skipEarlySections(opaqueStart);
  }

  contents(): StreamContents {
    const { opaqueStart, streamEnded, ramEnded, ramSection, blocks, commands } = this.#handler;
    // Memory that its guest went on to write (`background-snapshot`) has no SECTION_END: the devices, which
    // come behind it, tell that it is whole. Without them a zero of a padded volume is no EOF byte.
    if (ramSection === undefined || (opaqueStart < 0 && !(ramEnded && streamEnded))) {
      throw this.#truncated(this.position);
    }
    const configuration = this.#handler.streamConfiguration;
    if (configuration === undefined) {
      throw new ImageError(
        "unsupported",
        this.#path,
        "Capture without a configuration, which names the machine type",
        "capture a machine type whose stream has one: all since QEMU 2.4",
      );
    }
    const early = this.#image.bytes(this.#early.offset, this.#early.length);
    const start = opaqueStart < 0 ? this.#image.length : opaqueStart;
    const tail = this.#image.bytes(start, Math.min(MOST_TAIL_BYTES, this.#image.length - start));
    const { devices, description } = opaqueStart < 0
      ? { devices: tail, description: undefined }
      : this.#at(start, () => splitDeviceState(tail));
    const described = description === undefined ? undefined : describe(description);
    const before = this.#at(this.#early.offset, () => sections(early, described));
    const behind = this.#at(start, () => sections(devices, described));
    return {
      configuration,
      blocks,
      ramSection,
      commands,
      earlySections: this.#early,
      deviceState: { offset: start, length: devices.length },
      deviceSections: [...before, ...behind],
      earlySectionCount: before.length,
    };
  }

  /** Its offsets, and those that a mapped-ram file says of itself, are the file's. */
  #newDecoder(): StreamDecoder {
    const decoder = new StreamDecoder(this.#handler);
    decoder.skip(this.#start);
    return decoder;
  }

  /** Decodes `length` bytes, the first of which lies at `origin` in the file; returns how many it took. */
  #decode(bytes: Uint8Array, origin: number, length: number = bytes.length): number {
    this.#handler.origin = origin;
    return this.#withPageSize(() => {
      const decoded = this.#decoder.decode(bytes, 0, length);
      const atEnd = origin + length === this.#image.length;
      if (atEnd && this.#handler.opaqueStart < 0) this.#decoder.finish(length - decoded);
      return decoded;
    });
  }

  /**
   * Devices that are set up before memory (virtio-mem since QEMU 8.0) come as sections without a
   * length, in front of the memory section. A new decoder is given what comes before and behind them.
   */
  #skipEarlySections(offset: number): void {
    const limit = Math.min(EARLY_SECTIONS_LIMIT, this.#image.length - offset);
    const length = findRamStart(this.#image.bytes(offset, limit));
    if (length < 0) {
      throw new ImageError(
        "unsupported",
        this.#path,
        `Capture with device sections before its memory, which does not start within ${limit} bytes,`,
        "see that the file is whole; capture without the devices that need this (virtio-mem)",
        { offset },
      );
    }
    this.#early = { offset, length };
    this.#handler = this.#openHandler();
    this.#decoder = this.#newDecoder();
    this.#decode(this.#image.bytes(this.#start, offset - this.#start), this.#start);
    this.#decoder.skip(length);
    this.position = offset + length;
  }

  /** Runs what fails in many ways where pages are of a size that the stream does not name. */
  #withPageSize<T>(decode: () => T): T {
    try {
      return this.#at(0, decode);
    } catch (error) {
      const damaged = error instanceof ImageError &&
        (error.code === "malformed" || error.code === "truncated");
      const length = Math.min(PROBED_BYTES, this.#image.length - this.#start);
      const start = this.#image.bytes(this.#start, length);
      const size = damaged ? otherPageSize(start) : undefined;
      throw size === undefined ? error : unsupportedPageSize(this.#path, size, error);
    }
  }

  /** Runs what counts its errors from a place in the file. */
  #at<T>(origin: number, decode: () => T): T {
    try {
      return decode();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const offset = origin + error.offset;
      if (error.code === "truncated") throw this.#truncated(offset, error);
      const problem = `Malformed capture: expected ${error.expected}, found ${error.found},`;
      const options = { offset, cause: error };
      throw new ImageError("malformed", this.#path, problem, DAMAGED_REMEDY, options);
    }
  }

  #truncated(offset: number, cause?: ProtocolError): ImageError {
    const missing = cause === undefined
      ? ""
      : `: expected ${cause.expected}, found ${cause.found},`;
    const options = { offset, cause };
    const problem = `Truncated capture${missing}`;
    return new ImageError("truncated", this.#path, problem, TRUNCATED_REMEDY, options);
  }
}

/** A description only says what is found without it too, so one that cannot be read is no error. */
function describe(json: string): VmDescription | undefined {
  try {
    return parseVmDescription(json);
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

function sections(bytes: Uint8Array, description: VmDescription | undefined): DeviceSection[] {
  return deviceSections(bytes, description)
    .map(({ name, instance, version, size }) => ({ name, instance, version, size }));
}
