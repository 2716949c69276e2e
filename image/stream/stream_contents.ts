/** What a captured stream says apart from where its pages are. */

import type { BlockEntry, Configuration } from "../../migration/protocol/mod.ts";
import type { RamSection } from "../../migration/protocol/stream_machine.ts";
import type { CommandCount, DeviceSection, PageCounts } from "../image.ts";

/** A piece of the image, in bytes. */
export interface FileRange {
  /** First byte. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** All that a captured stream says apart from where its pages are. */
export interface CaptureContents {
  /** As the stream has it. */
  readonly configuration: Configuration;
  /** RAM blocks in the order of the stream. */
  readonly blocks: readonly BlockEntry[];
  /** The memory section's identity. */
  readonly ramSection: RamSection;
  /** Commands met. */
  readonly commands: readonly CommandCount[];
  /** The sections before the memory section. */
  readonly earlySections: FileRange;
  /** The sections after it. */
  readonly deviceState: FileRange;
  /** What is in these two. */
  readonly deviceSections: readonly DeviceSection[];
  /** How many of them are before the memory section. */
  readonly earlySectionCount: number;
}

/** What the index keeps of a capture. */
export interface IndexedContents extends CaptureContents {
  /** Page counts of each block. */
  readonly counts: readonly PageCounts[];
}

/** Writes contents for the index. */
export function encodeContents(contents: IndexedContents): Uint8Array {
  const text = JSON.stringify(
    contents,
    (key, value) => key === "uuid" ? Array.from(value as Uint8Array) : value,
  );
  return new TextEncoder().encode(text);
}

/** Reads what {@linkcode encodeContents} wrote; the caller has seen that the checksum is right. */
export function decodeContents(bytes: Uint8Array): IndexedContents {
  return JSON.parse(
    new TextDecoder().decode(bytes),
    (key, value) => key === "uuid" ? Uint8Array.from(value as number[]) : value,
  );
}
