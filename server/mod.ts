/** The source side: serves a machine's memory to a destination on demand. */

export { Source, type SourceOptions } from "./source.ts";
export type { OrderOptions } from "./order/source_order.ts";
export type { OrderStatistics } from "./order/order_statistics.ts";
export type { PageRun } from "./order/page_run.ts";
export { hotPages } from "./order/hot_pages.ts";
export type { OutgoingOptions, SourceTlsOptions } from "./outgoing/outgoing_options.ts";
export type {
  RamStatistics,
  SourceStatistics,
  SourceStatus,
  ThreadStatistics,
} from "./outgoing/statistics.ts";
export type { MultifdOptions } from "./multifd/multifd_settings.ts";
export type { MultifdStatistics } from "./multifd/multifd_statistics.ts";
export type { CompressionOptions } from "./compression/compression_settings.ts";
export type { CompressionStatistics } from "./compression/compression_statistics.ts";
export type { SwitchoverAckOptions } from "../migration/protocol/switchover_ack.ts";
export type { CompressionMethod } from "../migration/compression.ts";
export { type Mode, MODES } from "./sending/mode.ts";
export { MigrationError, type MigrationErrorCode } from "../migration/migration_error.ts";
export type {
  CommandCount,
  DeviceSection,
  Image,
  ImageKind,
  IndexReport,
  PageCounts,
} from "../image/image.ts";
export type { LibvirtSave } from "../image/libvirt/libvirt_save.ts";
export type { LibvirtFormat } from "../image/libvirt/libvirt_header.ts";
export type { RamSection } from "../migration/protocol/stream_machine.ts";
export { ImageError, type ImageErrorCode } from "../image/image_error.ts";
export { openImage } from "../image/open_image.ts";
export type { OpenImageOptions } from "../image/open_image_options.ts";
export { openMemoryFile } from "../image/raw/memory_file.ts";
export {
  formatSocketAddress,
  parseSocketAddress,
  type SocketAddress,
  SocketAddressError,
} from "../ffi/socket_address.ts";
export { SyscallError } from "../ffi/errno.ts";
export { TlsError, type TlsErrorCode } from "../ffi/tls/tls_error.ts";
export { UnsupportedPlatformError } from "../ffi/platform.ts";
export {
  PageServer,
  type PageServerOptions,
  type PageServerTlsOptions,
} from "./listening/page_server.ts";
export type { PageServerEvent, PageSessionStatistics } from "./listening/page_server_event.ts";
export type { ServedImageOptions, SessionOrder } from "./listening/served_image.ts";
export { LiveRegion, type LiveRegionOptions } from "./live/live_region.ts";
export { LiveSource, type LiveSourceOptions } from "./live/live_source.ts";
export type { DowntimeParts, LiveRamStatistics, LiveStatistics } from "./live/live_statistics.ts";
export type { PostcopyPolicy } from "./live/convergence.ts";
export type { GuestDevices, GuestMachine, LiveGuest } from "../migration/guest.ts";
export {
  type RamBlock,
  type RamBlockSize,
  RamLayout,
  RamLayoutError,
} from "../migration/memory/ram_layout.ts";
export type { Configuration } from "../migration/protocol/configuration.ts";
export type { BlockEntry, MappedRegion } from "../migration/protocol/ram.ts";
export type { MapBlock, MemoryMap } from "../migration/memory/memory_map.ts";
export type { GuestBlock } from "../migration/memory/guest_block.ts";
export { ThreadPool, type ThreadPoolOptions } from "../migration/threads/thread_pool.ts";
