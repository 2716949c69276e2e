/**
 * Postcopy page server and migration engine: moves the memory of a running machine to another host
 * while the machine already runs there, over QEMU's own migration protocol.
 *
 * @module
 */

export { Source, type SourceOptions } from "./server/source.ts";
export type { OrderOptions } from "./server/order/source_order.ts";
export type { OrderStatistics } from "./server/order/order_statistics.ts";
export type { PageRun } from "./server/order/page_run.ts";
export type { OutgoingOptions, SourceTlsOptions } from "./server/outgoing/outgoing_options.ts";
export type {
  RamStatistics,
  SourceStatistics,
  SourceStatus,
  ThreadStatistics,
} from "./server/outgoing/statistics.ts";
export type { MultifdOptions } from "./server/multifd/multifd_settings.ts";
export type { MultifdStatistics } from "./server/multifd/multifd_statistics.ts";
export type { CompressionOptions } from "./server/compression/compression_settings.ts";
export type { CompressionStatistics } from "./server/compression/compression_statistics.ts";
export type { SwitchoverAckOptions } from "./migration/protocol/switchover_ack.ts";
export type { CompressionMethod } from "./migration/compression.ts";
export {
  PageServer,
  type PageServerOptions,
  type PageServerTlsOptions,
} from "./server/listening/page_server.ts";
export type {
  PageServerEvent,
  PageSessionStatistics,
} from "./server/listening/page_server_event.ts";
export type { ServedImageOptions, SessionOrder } from "./server/listening/served_image.ts";
export { LiveRegion, type LiveRegionOptions } from "./server/live/live_region.ts";
export { LiveSource, type LiveSourceOptions } from "./server/live/live_source.ts";
export type {
  DowntimeParts,
  LiveRamStatistics,
  LiveStatistics,
} from "./server/live/live_statistics.ts";
export type { PostcopyPolicy } from "./server/live/convergence.ts";
export { type Mode, MODES } from "./server/sending/mode.ts";
export type { Image } from "./image/image.ts";
export { ImageError, type ImageErrorCode } from "./image/image_error.ts";
export { openImage } from "./image/open_image.ts";
export type { OpenImageOptions } from "./image/open_image_options.ts";
export { openMemoryFile } from "./image/raw/memory_file.ts";
export { Destination, type DestinationOptions } from "./client/destination.ts";
export { IncomingMigration } from "./client/incoming_migration.ts";
export { ImageReceiver, type ImageReceiverOptions } from "./client/receive/image_receiver.ts";
export type { ReceiveStatistics } from "./client/receive/receive_statistics.ts";
export { Lazy, type LazyEvent, type LazyOptions } from "./client/lazy/lazy.ts";
export {
  type CriuVersion,
  LazyTree,
  type LazyTreeEvent,
  type LazyTreeOptions,
} from "./client/lazy/criu/lazy_tree.ts";
export type { TouchOrderOptions } from "./client/lazy/kept_order.ts";
export type { LazyStatistics } from "./client/lazy/lazy_statistics.ts";
export type { OnLoss } from "./client/lazy/lazy_task.ts";
export type { MemoryFormat } from "./client/lazy/memory_image.ts";
export type { DirtyPages } from "./client/lazy/written_memory.ts";
export type { RemoteEvent, RemoteStatistics } from "./client/lazy/remote/remote_memory.ts";
export type { PageClientTlsOptions } from "./client/lazy/remote/page_client.ts";
export type {
  AccessOptions,
  RefusedConnections,
  ServerTlsOptions,
} from "./client/connecting/access.ts";
export type { SilentConnections } from "./client/connecting/sent_away.ts";
export type { DestinationStatistics, DestinationStatus } from "./client/statistics.ts";
export type { ArrivalFigures, ArrivalParts } from "./client/incoming/arrival_times.ts";
export type { DecompressionStatistics } from "./client/decompression/decompression_threads.ts";
export type { ThreadLatency } from "./client/placing/thread_latencies.ts";
export type {
  Guest,
  GuestDevices,
  GuestMachine,
  GuestMemory,
  LiveGuest,
} from "./migration/guest.ts";
export type { Configuration } from "./migration/protocol/configuration.ts";
export type { BlockEntry, MappedRegion } from "./migration/protocol/ram.ts";
export type { MapBlock, MemoryMap } from "./migration/memory/memory_map.ts";
export type { GuestBlock } from "./migration/memory/guest_block.ts";
export { MigrationError, type MigrationErrorCode } from "./migration/migration_error.ts";
export {
  type RamBlock,
  type RamBlockSize,
  RamLayout,
  RamLayoutError,
} from "./migration/memory/ram_layout.ts";
export { ProtocolError, type ProtocolErrorCode } from "./migration/protocol/protocol_error.ts";
export { type Backing, MappedMemory, viewMemory } from "./ffi/memory.ts";
export {
  formatSocketAddress,
  parseSocketAddress,
  type SocketAddress,
  SocketAddressError,
} from "./ffi/socket_address.ts";
export { SyscallError } from "./ffi/errno.ts";
export { TlsError, type TlsErrorCode } from "./ffi/tls/tls_error.ts";
export { UnsupportedPlatformError } from "./ffi/platform.ts";
export { ThreadPool, type ThreadPoolOptions } from "./migration/threads/thread_pool.ts";
