/** What the images that QEMU wrote have in common, wherever their pages lie. */

import type { MappedMemory } from "../../ffi/memory.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { BlockEntry, Configuration } from "../../migration/protocol/mod.ts";
import type { RamSection } from "../../migration/protocol/stream_machine.ts";
import type { PageSource } from "../../pages/page_locator.ts";
import type {
  CommandCount,
  DeviceSection,
  Image,
  ImageKind,
  IndexReport,
  PageCounts,
} from "../image.ts";
import type { LibvirtSave } from "../libvirt/libvirt_save.ts";
import type { FileRange, StreamContents } from "./stream_contents.ts";
import { readVmDescription } from "./stream_description.ts";
import type { StreamPlace } from "./stream_place.ts";

/** An image made of a stream; what extends it knows where the pages are. */
export abstract class StreamImage implements Image {
  abstract readonly kind: ImageKind;
  abstract readonly pages: PageSource;
  abstract readonly counts: readonly PageCounts[];
  abstract readonly index: IndexReport | undefined;
  readonly path: string;
  readonly machine: string;
  readonly configuration: Configuration;
  readonly targetPageSize: number;
  readonly blocks: readonly BlockEntry[];
  readonly layout: RamLayout;
  readonly ramSection: RamSection;
  readonly earlySections: Uint8Array<ArrayBuffer>;
  readonly deviceState: Uint8Array<ArrayBuffer>;
  readonly deviceSections: readonly DeviceSection[];
  readonly earlySectionCount: number;
  readonly commands: readonly CommandCount[];
  readonly streamOffset: number;
  readonly libvirt: LibvirtSave | undefined;
  readonly #memory: MappedMemory;
  readonly #deviceState: FileRange;

  /**
   * @param path the file's name
   * @param memory all of it, closed with the image
   * @param place of the stream in it
   * @param contents what it says, its configuration and blocks as the destination is to receive them
   * @param layout the blocks with their pages numbered
   */
  constructor(
    path: string,
    memory: MappedMemory,
    place: StreamPlace,
    contents: StreamContents,
    layout: RamLayout,
  ) {
    const copy = ({ offset, length }: FileRange) => memory.bytes(offset, length).slice();
    this.path = path;
    this.machine = contents.configuration.machine;
    this.configuration = contents.configuration;
    this.targetPageSize = layout.targetPageSize;
    this.blocks = contents.blocks;
    this.layout = layout;
    this.ramSection = contents.ramSection;
    this.earlySections = copy(contents.earlySections);
    this.deviceState = copy(contents.deviceState);
    this.deviceSections = contents.deviceSections;
    this.earlySectionCount = contents.earlySectionCount;
    this.commands = contents.commands;
    this.streamOffset = place.offset;
    this.libvirt = place.libvirt;
    this.#memory = memory;
    this.#deviceState = contents.deviceState;
  }

  get description(): string | undefined {
    return readVmDescription(this.#memory, this.#deviceState);
  }

  countPages(): Promise<readonly PageCounts[]> {
    return Promise.resolve(this.counts);
  }

  close(): void {
    this.#memory.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
