/** Pages that a guest touches as soon as it runs, known without having seen it run: by its device state. */

import { ProtocolError } from "../../migration/protocol/protocol_error.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { presentPages } from "../../pages/page_locator.ts";
import { inspectFields } from "../inspect/inspect_fields.ts";
import type { Image } from "../image.ts";
import { GuestMemory, PAGE_BYTES } from "./guest_memory.ts";
import { LinearMemory, type OnPage } from "./linear_memory.ts";
import { PointerChase } from "./pointer_chase.ts";
import { type Processor, processorOf } from "./processor.ts";
import { virtioRings } from "./virtio_rings.ts";

/**
 * Most target pages that are named, and go with them in huge pages: 4 MiB, which 100 MiB/s take 40 ms for. A Linux
 * with one processor had 80 in its idle loop, and 490 in the midst of a system call.
 */
export const MOST_HOT = 1024;
/** Processors that are looked at; in a guest of more the others sleep until one of these wakes them. */
const MOST_PROCESSORS = 16;
/** Pages that are read for it: tables, stacks. */
const MOST_READ = 1024;
/**
 * Milliseconds for what is less than sure: a disk may be slow, and a guest waits for this. What is sure it would
 * wait for in any case.
 */
const PATIENCE = 30;
/** Characters of a description that is read; QEMU's of a machine with many devices has some 300,000. */
const MOST_DESCRIBED = 2 ** 23;

/** How it is looked for. */
export interface HotOptions {
  /** Milliseconds for what is not pointed to by a register itself; default 30. */
  readonly patience?: number;
}

/**
 * Finds the pages that a guest at rest points to: code, stack, tables and data of its processors, and the rings
 * of its virtio devices. A hint: of a guest that is no PC, or whose state is odd or does not describe itself, it
 * finds fewer, or none, and fails for none.
 *
 * @param image an open image
 * @returns page numbers of the image's layout, the surest in front, none twice
 */
export function knownHot(image: Image, { patience = PATIENCE }: HotOptions = {}): Int32Array {
  const memory = GuestMemory.of(image, MOST_READ);
  if (memory === undefined) return new Int32Array(0);
  const found = new HostPages(image);
  const add = (address: number): void => found.add(memory.pageAt(address));
  const processors = processorsOf(image);
  const chases = chasesOf(processors, memory, add);
  for (const each of chases) each.own();
  for (const { mailboxes } of processors) mailboxes.forEach(add);
  addRings(image, add);
  memory.endAt(performance.now() + patience);
  for (const each of chases) each.near();
  for (const each of chases) each.far();
  return Int32Array.from(found.pages);
}

/** Pages that the image holds, as long as the host pages in which they lie are not too many. */
class HostPages {
  readonly pages = new Set<number>();
  readonly #layout: RamLayout;
  readonly #present: PageBitmap | undefined;
  readonly #hosts = new Set<number>();
  #left = MOST_HOT;

  constructor({ layout, pages }: Image) {
    const present = presentPages(pages);
    this.#layout = layout;
    this.#present = present && new PageBitmap(layout.pageLimit, present);
  }

  /** Adds a page of the layout; -1 is none. */
  add(page: number): void {
    if (page < 0 || this.#present?.has(page) === false) return;
    const { firstPage, pagesPerHostPage } = this.#layout.blockOf(page);
    const host = page - (page - firstPage) % pagesPerHostPage;
    if (!this.#hosts.has(host)) {
      if (this.#left < pagesPerHostPage) return;
      this.#left -= pagesPerHostPage;
      this.#hosts.add(host);
    }
    this.pages.add(page);
  }
}

function processorsOf(image: Image): Processor[] {
  if ((image.description?.length ?? 0) > MOST_DESCRIBED) return [];
  try {
    const { devices } = inspectFields(image, { name: "cpu" });
    return devices.slice(0, MOST_PROCESSORS).flatMap(({ state }) => {
      const processor = state && processorOf(state);
      return processor === undefined ? [] : [processor];
    });
  } catch (error) {
    if (error instanceof ProtocolError) return []; // devices that are no sections of QEMU's
    throw error;
  }
}

/** One for each processor; those of one address space share what is found in it. */
function chasesOf(
  processors: readonly Processor[],
  memory: GuestMemory,
  found: OnPage,
): PointerChase[] {
  const spaces = new Map<string, LinearMemory>();
  return processors.map((processor) => {
    const { paging } = processor;
    const key = JSON.stringify(paging);
    const space = spaces.get(key) ?? new LinearMemory(memory, paging, found);
    spaces.set(key, space);
    return new PointerChase(processor, space);
  });
}

function addRings({ earlySections, deviceState }: Image, add: OnPage): void {
  for (const state of [earlySections, deviceState]) {
    for (const { available, used, descriptors } of virtioRings(state)) {
      add(available);
      add(used);
      if (descriptors === undefined) continue;
      const { start, length } = descriptors;
      for (let at = start; at < start + length; at += PAGE_BYTES) add(at);
    }
  }
}
