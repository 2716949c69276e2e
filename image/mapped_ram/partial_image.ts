/** What the file of an image says that its receiver did not complete, to another that takes it up. */

import type { OutputFile } from "../../ffi/file.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import {
  type BlockEntry,
  CAPABILITY,
  type Configuration,
  IgnoreStream,
  ProtocolError,
  splitDeviceState,
  StreamDecoder,
  StreamEncoder,
  withoutCapability,
} from "../../migration/protocol/mod.ts";
import type { RamSection, StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { isStream } from "../file_kind.ts";
import { ImageError } from "../image_error.ts";
import { MAGIC_BYTES, MappedRamLayout } from "./mapped_ram_layout.ts";
import { hasPartialMark, markedMethod } from "./partial_mark.ts";

/** Bytes read at a time. */
const WINDOW_BYTES = 64 * 1024;
const NO_BYTES = new Uint8Array(0);
/** What the mark stands in place of. */
const MAGIC = streamHeader();

/** What is known of a machine whose pages are still to come. */
export interface PartialImage {
  readonly machine: StreamMachine;
  /** What follows the memory in the file; absent where the source's device state had not come whole. */
  readonly tail?: Uint8Array<ArrayBuffer>;
  /** How its source compresses pages, if it does. */
  readonly method?: CompressionMethod;
}

/**
 * Reads the file of an image whose receiver has ended behind the switch to postcopy.
 *
 * @param file stays the caller's
 * @throws {ImageError} when it is complete, or not even the RAM blocks had come, or it is no such file
 */
export function readPartialImage(file: OutputFile): PartialImage {
  const head = new Uint8Array(MAGIC_BYTES);
  file.read(head, 0);
  const marked = hasPartialMark(head);
  const frame = marked || head.every((byte) => byte === 0) ? readFrame(file) : undefined;
  if (frame === undefined) throw notMarked(file.path, head);
  const layout = new MappedRamLayout(frame);
  requireSame(file, layout);
  if (!marked) return { machine: frame };
  const tail = new Uint8Array(Math.max(0, file.size() - layout.tailOffset));
  file.read(tail, layout.tailOffset);
  try {
    splitDeviceState(tail);
  } catch (error) {
    throw damaged(file.path, layout.tailOffset, error);
  }
  const method = markedMethod(head);
  return { machine: frame, tail, ...method === undefined ? {} : { method } };
}

/** Takes in what comes before the pages. */
class Frame extends IgnoreStream {
  configured: Configuration | undefined;
  section: RamSection | undefined;
  readonly blocks: BlockEntry[] = [];
  /** Bytes announced that no block has had. */
  announced = -1;
  /** Offset in the file up to which the decoder passes over a block. */
  regionEnd = 0;

  override configuration(configuration: Configuration): void {
    this.configured = configuration;
  }

  override sectionStart(id: number, _name: string, instance: number, version: number): void {
    this.section = { id, instance, version };
  }

  override blockList(total: number): void {
    this.announced = total;
  }

  override blockEntry(entry: BlockEntry): void {
    this.blocks.push(entry);
    this.announced -= entry.usedLength;
    this.regionEnd = entry.mapped!.pagesOffset + entry.usedLength;
  }
}

/** Returns undefined for a file in which nothing is. */
function readFrame(file: OutputFile): StreamMachine | undefined {
  const size = file.size();
  if (size === 0) return undefined;
  const frame = new Frame();
  const decoder = new StreamDecoder(frame);
  const window = new Uint8Array(WINDOW_BYTES);
  let at = 0;
  try {
    while (frame.announced !== 0 && at < size) {
      if (frame.regionEnd > at) {
        // It passes over a block by counting.
        at += decoder.decode(NO_BYTES, 0, frame.regionEnd - at);
        continue;
      }
      file.read(window, at);
      if (at === 0) window.set(MAGIC);
      const count = decoder.decode(window, 0, window.length);
      if (count === 0) break;
      at += count;
    }
  } catch (error) {
    throw damaged(file.path, at, error);
  }
  const { configured, section, blocks, announced } = frame;
  const pageSize = blocks[0]?.mapped?.pageSize;
  if (configured === undefined || section === undefined || announced !== 0 || !pageSize) {
    throw damaged(file.path, at);
  }
  return {
    configuration: withoutCapability(configured, CAPABILITY.MAPPED_RAM),
    ramSection: section,
    targetPageSize: pageSize,
    blocks: blocks.map(({ name, usedLength }) => ({ name, usedLength })),
  };
}

/** Sees that this program lays the file out as the one did that began it. */
function requireSame(file: OutputFile, { pieces }: MappedRamLayout): void {
  for (const [index, { offset, bytes }] of pieces.entries()) {
    const hidden = index === 0 ? MAGIC_BYTES : 0;
    const found = new Uint8Array(bytes.length - hidden);
    file.read(found, offset + hidden);
    if (found.some((byte, i) => byte !== bytes[hidden + i])) throw damaged(file.path, offset);
  }
}

function streamHeader(): Uint8Array {
  const encoder = new StreamEncoder();
  encoder.header();
  return encoder.take();
}

function notMarked(path: string, head: Uint8Array): ImageError {
  if (isStream(head)) {
    return new ImageError(
      "not-an-image",
      path,
      "Image that is complete, of which nothing is to be recovered",
      "see that the guest does not run at its source, then give the file the name that you want: it can " +
        "be served",
    );
  }
  if (head.every((byte) => byte === 0)) {
    return new ImageError(
      "not-an-image",
      path,
      "Image whose receive ended before its source had sent anything",
      "the guest is at its source: see there with info migrate and info status, and receive it again into " +
        "another file",
    );
  }
  const remedy = "give the file that receive left: its name ends in .partial- and a number";
  return new ImageError("not-an-image", path, "No partial image of receive", remedy);
}

function damaged(path: string, offset: number, cause?: unknown): ImageError {
  const unread = cause !== undefined && !(cause instanceof ProtocolError);
  if (unread && !(cause instanceof ImageError)) throw cause;
  return new ImageError(
    "malformed",
    path,
    "Partial image that is damaged, or that another version wrote",
    "take it up with the version of postcopy that wrote it; do not end the source, which has the guest",
    { offset, cause },
  );
}
