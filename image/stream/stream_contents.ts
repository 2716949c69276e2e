/** What a file that QEMU wrote says apart from where its pages are: a captured stream, or mapped-ram. */

import type { BlockEntry, Configuration } from "../../migration/protocol/mod.ts";
import type { RamSection } from "../../migration/protocol/stream_machine.ts";
import type { CommandCount, DeviceSection } from "../image.ts";

/** A piece of the image, in bytes. */
export interface FileRange {
  /** First byte. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** All that such a file says of its machine. */
export interface StreamContents {
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
