/** A machine at rest in a file: what the source needs to know of it, whatever the file's format. */

import type { BlockEntry } from "../migration/protocol/ram.ts";
import type { Configuration } from "../migration/protocol/configuration.ts";
import type { RamSection } from "../migration/protocol/stream_machine.ts";
import type { RamLayout } from "../migration/memory/ram_layout.ts";
import type { LibvirtSave } from "./libvirt/libvirt_save.ts";
import type { PageSource } from "../pages/page_locator.ts";

/** The formats that can be opened. */
export type ImageKind = "qemu-stream" | "mapped-ram" | "raw";

/** A device's section, as the stream itself describes it. */
export interface DeviceSection {
  /** Name, for example `"cpu"` or `"0000:00:02.0/virtio-net"`. */
  readonly name: string;
  /** Instance id. */
  readonly instance: number;
  /** Version id. */
  readonly version: number;
  /** Bytes of its state, without head and footer. */
  readonly size: number;
}

/** How many target pages there are of each kind. */
export interface PageCounts {
  /** Pages with content. */
  readonly data: number;
  /** Pages that are zero. */
  readonly zero: number;
  /** Pages that the image never mentions, which QEMU's own load leaves zero: sent when they are asked for. */
  readonly missing: number;
}

/** A command met in a captured stream, and how often. */
export interface CommandCount {
  /** As {@linkcode Command} names it, for example `"switchover-start"`. */
  readonly kind: string;
  /** Times. */
  readonly count: number;
}

/** Where the table of page positions of a captured stream is, and how it came to be. */
export interface IndexReport {
  /** `reused`: found beside the image. `built`: made now and kept. `temporary`: made now, gone at the end. */
  readonly state: "reused" | "built" | "temporary";
  /** File name; of a temporary one, where it was wanted. */
  readonly path: string;
  /** Why an index that was there was not used, or why the new one could not be kept. */
  readonly reason?: string;
}

/** An open image. Addresses in `pages` are valid until it is closed. */
export interface Image extends Disposable {
  /** The file's name as given. */
  readonly path: string;
  /** The file's format. */
  readonly kind: ImageKind;
  /** Where in the file QEMU's stream begins, in bytes; 0 of a raw image. */
  readonly streamOffset: number;
  /** What libvirt wrote of the domain, when it saved the file. */
  readonly libvirt: LibvirtSave | undefined;
  /** Versioned machine type, for example `"pc-q35-7.2"`. */
  readonly machine: string;
  /** As the destination is to receive it: without what only describes the file. */
  readonly configuration: Configuration;
  /** Bytes of a target page. */
  readonly targetPageSize: number;
  /** RAM blocks in the order of the stream. */
  readonly blocks: readonly BlockEntry[];
  /** The blocks with their pages numbered. */
  readonly layout: RamLayout;
  /** How the image names the memory section. */
  readonly ramSection: RamSection;
  /** SECTION_FULLs that come before the memory section, verbatim; mostly empty. */
  readonly earlySections: Uint8Array<ArrayBuffer>;
  /** SECTION_FULLs of all other devices, verbatim and in order, ready for the package. */
  readonly deviceState: Uint8Array<ArrayBuffer>;
  /** What is in `earlySections` and `deviceState`, in this order. */
  readonly deviceSections: readonly DeviceSection[];
  /** How many of `deviceSections` are in `earlySections`. */
  readonly earlySectionCount: number;
  /**
   * JSON in which the stream describes these sections and their fields (docs/protocol.md section 1.5);
   * undefined when it does not. To be read while the image is open.
   */
  readonly description: string | undefined;
  /** Commands met in the stream; none of them is in `deviceState`. */
  readonly commands: readonly CommandCount[];
  /**
   * Where each page's bytes are, in plain data that can be posted to a worker.
   *
   * @internal
   */
  readonly pages: PageSource;
  /** Page counts of each block, in the order of `blocks`; absent for a raw image, see `countPages`. */
  readonly counts: readonly PageCounts[] | undefined;
  /** Of a captured stream: its index. */
  readonly index: IndexReport | undefined;
  /**
   * Page counts of each block, in the order of `blocks`. Of a raw image this reads all of it.
   *
   * @throws {ImageError} when the image is closed
   */
  countPages(): Promise<readonly PageCounts[]>;
  /** Unmaps the file. No thread may touch a page after this. Closing again does nothing. */
  close(): void;
}
