/**
 * Address spaces: memory regions, the flat views that they make, and the transactions that change them.
 *
 * @module
 */
export { AddressSpace } from "./address_space.ts";
export { type FlatEvent, type FlatRange, type FlatView, type Translation } from "./flat_view.ts";
export { StaleViewError } from "./guarded_flat_view.ts";
export { GuestMemoryError, type GuestMemoryErrorCode } from "./guest_memory_error.ts";
export { GuestTranslation } from "./guest_translation.ts";
export { MemoryCore, type MemoryCoreOptions, type MemoryStatistics } from "./memory_core.ts";
export { type MemoryListener } from "./memory_listener.ts";
export { MemoryRegion, type MemoryRegionKind, type RamBacking } from "./memory_region.ts";
export { MemoryRegionError, type MemoryRegionErrorCode } from "./memory_region_error.ts";
export { RamAddresses } from "./ram_addresses.ts";
export { type RegionEvent } from "./region_event.ts";
