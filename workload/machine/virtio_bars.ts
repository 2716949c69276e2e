/** BARs of a virtio device on PCI (virtio 1.2, 4.1.4): the legacy ports, MSI-X, and the modern regions. */

import type { MemoryCore } from "../../migration/address_space/memory_core.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import type { Bar } from "./pci_function.ts";

/** Bytes of a table entry of MSI-X (PCI Local Bus Specification 3.0, 6.8.2.6). */
export const VECTOR_BYTES = 16;
/** Where the legacy ports take a queue's number. */
export const LEGACY_NOTIFY = 16;
/** Bytes between notify addresses of two queues. */
export const NOTIFY_STEP = 4;

const LEGACY_BYTES = 64;
const PAGE = 4096;

/** The BARs of a virtio device, and those of their regions that are told of events. */
export interface VirtioBars {
  /** For the configuration space. */
  readonly bars: readonly Bar[];
  /** Legacy ports. */
  readonly legacy: MemoryRegion;
  /** A notify address for each queue, {@linkcode NOTIFY_STEP} bytes apart. */
  readonly notify: MemoryRegion;
}

/**
 * Makes the regions.
 *
 * @param core the machine's memory
 * @param name the device's, for messages
 * @param queues how many
 * @param vectors interrupt vectors
 */
export function virtioBars(
  core: MemoryCore,
  name: string,
  queues: number,
  vectors: number,
): VirtioBars {
  const legacy = MemoryRegion.io(core, `${name} legacy`, LEGACY_BYTES);
  // Table and pending bits each have a half, as a guest may map them apart.
  const half = Math.max(PAGE / 2, powerOfTwo(vectors * VECTOR_BYTES));
  const msix = MemoryRegion.container(core, `${name} msix`, Math.max(PAGE, 2 * half));
  msix.add(MemoryRegion.io(core, `${name} msix-table`, vectors * VECTOR_BYTES), 0);
  msix.add(MemoryRegion.io(core, `${name} msix-pba`, 8 * Math.ceil(vectors / 64)), half);
  const notifyBytes = Math.ceil(queues * NOTIFY_STEP / PAGE) * PAGE;
  const notify = MemoryRegion.io(core, `${name} notify`, notifyBytes);
  const modern = MemoryRegion.container(core, `${name} modern`, powerOfTwo(3 * PAGE + notifyBytes));
  ["common", "isr", "device"].forEach((part, index) =>
    modern.add(MemoryRegion.io(core, `${name} ${part}`, PAGE), index * PAGE)
  );
  modern.add(notify, 3 * PAGE);
  const bars: readonly Bar[] = [
    { index: 0, kind: "io", size: legacy.size, region: legacy },
    { index: 1, kind: "memory", size: msix.size, region: msix },
    { index: 4, kind: "memory64", size: modern.size, region: modern },
  ];
  return { bars, legacy, notify };
}

function powerOfTwo(value: number): number {
  return 2 ** Math.ceil(Math.log2(value));
}
