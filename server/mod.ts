/** The source side: serves a machine's memory to a destination on demand. */

export { Source, type SourceOptions } from "./source.ts";
export type { OutgoingOptions } from "./outgoing_options.ts";
export type {
  RamStatistics,
  SourceStatistics,
  SourceStatus,
  ThreadStatistics,
} from "./statistics.ts";
export type { CompressionOptions } from "./compression_settings.ts";
export type { CompressionStatistics } from "./compression_statistics.ts";
export type { CompressionMethod } from "../migration/compression.ts";
export { type Mode, MODES } from "./mode.ts";
export { MigrationError, type MigrationErrorCode } from "../migration/migration_error.ts";
export {
  type CommandCount,
  type DeviceSection,
  type Image,
  ImageError,
  type ImageErrorCode,
  type ImageKind,
  type IndexReport,
  openImage,
  type OpenImageOptions,
  type PageCounts,
  type RamSection,
} from "./image/image.ts";
export {
  formatSocketAddress,
  parseSocketAddress,
  type SocketAddress,
  SocketAddressError,
} from "../ffi/socket_address.ts";
export { SyscallError } from "../ffi/errno.ts";
export { UnsupportedPlatformError } from "../ffi/platform.ts";
export { LiveRegion, type LiveRegionOptions } from "./live_region.ts";
export { LiveSource, type LiveSourceOptions } from "./live_source.ts";
export type { DowntimeParts, LiveRamStatistics, LiveStatistics } from "./live_statistics.ts";
export type { PostcopyPolicy } from "./convergence.ts";
export type { GuestDevices, GuestMachine, LiveGuest } from "../migration/guest.ts";
export {
  type RamBlock,
  type RamBlockSize,
  RamLayout,
  RamLayoutError,
} from "../migration/memory/ram_layout.ts";
export type { Configuration } from "../migration/protocol/configuration.ts";
export type { BlockEntry, MappedRegion } from "../migration/protocol/ram.ts";
export type { GuestBlock } from "../migration/memory/guest_block.ts";
