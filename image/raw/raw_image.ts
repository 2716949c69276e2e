/** Memory as it is, in a file with a description beside it, as an image. */

import type { MappedMemory } from "../../ffi/memory.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import {
  type BlockEntry,
  type Configuration,
  type DeviceSection as ProtocolDeviceSection,
  deviceSections,
  ProtocolError,
  RAM_SECTION,
} from "../../migration/protocol/mod.ts";
import type { RamSection } from "../../migration/protocol/stream_machine.ts";
import { FlatLocator, type FlatPages } from "../../pages/flat_pages.ts";
import { storedFile } from "../../pages/stored_file.ts";
import type { CommandCount, DeviceSection, Image, PageCounts } from "../image.ts";
import { DAMAGED_REMEDY, ImageError, unreadImage } from "../image_error.ts";
import { descriptionPath, parseRawDescription, type RawDescription } from "./raw_description.ts";

/** Stands for the names of machine and RAM block where there are none. */
const UNDESCRIBED = "memory";
/** Pages counted between two looks at the event loop: 64 MiB. */
const COUNTED_AT_ONCE = 16384;

/**
 * Opens a raw image.
 *
 * @param path the file's name
 * @param image all of it; this function or the image it returns closes it
 * @param text the description
 * @throws {ImageError} when it cannot be served
 */
export async function openRaw(path: string, image: MappedMemory, text: string): Promise<Image> {
  const description = parseRawDescription(path, text, image.length);
  const devices = await readDevices(path, description.devices);
  return new RawImage(path, image, description, devices);
}

/**
 * Makes an image of a raw file that nothing describes: all of it is one RAM block, of no machine.
 *
 * @param path the file's name
 * @param image all of it, whole pages of 4 KiB; the image that is returned closes it
 */
export function undescribedImage(path: string, image: MappedMemory): Image {
  const { length } = image;
  const blocks = [{ name: UNDESCRIBED, offset: 0, length }];
  const description = { machine: UNDESCRIBED, targetPageSize: 4096, blocks };
  return new RawImage(path, image, description, new Uint8Array(0));
}

async function readDevices(
  path: string,
  name: string | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  if (name === undefined) return new Uint8Array(0);
  const directory = path.slice(0, path.lastIndexOf("/") + 1);
  const file = name.startsWith("/") ? name : directory + name;
  try {
    return await Deno.readFile(file);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    const remedy = `put it beside the image, or correct ${descriptionPath(path)}`;
    throw new ImageError("not-found", path, `No file of device sections: ${file}`, remedy, {
      cause,
    });
  }
}

class RawImage implements Image {
  readonly kind = "raw";
  readonly streamOffset = 0;
  readonly libvirt = undefined;
  readonly path: string;
  readonly machine: string;
  readonly configuration: Configuration;
  readonly targetPageSize: number;
  readonly blocks: readonly BlockEntry[];
  readonly layout: RamLayout;
  // QEMU refuses no id; 0 is what its sections have that were never sent.
  readonly ramSection: RamSection = { id: 2, instance: 0, version: RAM_SECTION.VERSION };
  readonly earlySections: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  readonly deviceState: Uint8Array<ArrayBuffer>;
  readonly deviceSections: readonly DeviceSection[];
  readonly earlySectionCount = 0;
  readonly description = undefined;
  readonly commands: readonly CommandCount[] = [];
  readonly pages: FlatPages;
  readonly counts = undefined;
  readonly index = undefined;
  readonly #image: MappedMemory;
  #open = true;

  constructor(
    path: string,
    image: MappedMemory,
    description: RawDescription,
    devices: Uint8Array<ArrayBuffer>,
  ) {
    const { machine, targetPageSize } = description;
    this.path = path;
    this.machine = machine;
    this.configuration = { machine };
    this.targetPageSize = targetPageSize;
    this.blocks = description.blocks.map(({ name, length }) => ({ name, usedLength: length }));
    this.layout = layoutOf(path, this.blocks, targetPageSize);
    this.deviceState = devices;
    this.deviceSections = listDevices(path, devices);
    this.pages = {
      kind: "flat",
      file: storedFile(image),
      imageAddress: image.address,
      imageLength: image.length,
      runs: description.blocks.map(({ offset }, i) => ({
        firstPage: this.layout.blocks[i]!.firstPage,
        offset,
      })),
      pageSize: targetPageSize,
    };
    this.#image = image;
  }

  async countPages(): Promise<readonly PageCounts[]> {
    const locator = new FlatLocator(this.pages);
    const counts: PageCounts[] = [];
    for (const { firstPage, pageCount } of this.layout.blocks) {
      let zero = 0;
      for (let done = 0; done < pageCount;) {
        if (!this.#open) {
          throw new ImageError("closed", this.path, "Image is closed", "open it again");
        }
        const end = Math.min(done + COUNTED_AT_ONCE, pageCount);
        try {
          for (; done < end; done++) if (locator.locate(firstPage + done) === 0) zero++;
        } catch (error) {
          throw unreadImage(this.path, error);
        }
        await new Promise<void>((resolve) => setTimeout(resolve, 0));
      }
      counts.push({ data: pageCount - zero, zero, missing: 0 });
    }
    return counts;
  }

  close(): void {
    this.#open = false;
    this.#image.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function layoutOf(path: string, blocks: readonly BlockEntry[], pageSize: number): RamLayout {
  try {
    return new RamLayout(blocks, pageSize);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : `${cause}`;
    throw new ImageError("bad-description", path, message, `correct ${descriptionPath(path)}`, {
      cause,
    });
  }
}

function listDevices(path: string, devices: Uint8Array): DeviceSection[] {
  let sections: ProtocolDeviceSection[];
  try {
    sections = deviceSections(devices);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    const problem = `Malformed device sections: expected ${cause.expected}, found ${cause.found},`;
    const options = { offset: cause.offset, cause };
    throw new ImageError("malformed", path, problem, DAMAGED_REMEDY, options);
  }
  return sections.map(({ name, instance, version, size }) => ({ name, instance, version, size }));
}
