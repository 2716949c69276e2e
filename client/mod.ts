/** The destination side: runs a machine whose memory arrives on demand. */

export { Destination, type DestinationOptions } from "./destination.ts";
export { IncomingMigration } from "./incoming_migration.ts";
export { ImageReceiver, type ImageReceiverOptions } from "./receive/image_receiver.ts";
export { Lazy, type LazyEvent, type LazyOptions } from "./lazy/lazy.ts";
export {
  type CriuVersion,
  LazyTree,
  type LazyTreeEvent,
  type LazyTreeOptions,
} from "./lazy/criu/lazy_tree.ts";
export type { TouchOrderOptions } from "./lazy/kept_order.ts";
export type { LazyStatistics } from "./lazy/lazy_statistics.ts";
export type { OnLoss } from "./lazy/lazy_task.ts";
export type { MemoryFormat } from "./lazy/memory_image.ts";
export type { DirtyPages } from "./lazy/written_memory.ts";
export type { RemoteEvent, RemoteStatistics } from "./lazy/remote/remote_memory.ts";
export type { PageClientTlsOptions } from "./lazy/remote/page_client.ts";
export type { Fate } from "./receive/fate.ts";
export { Holder } from "./receive/receive_state.ts";
export type { ReceiveStatistics } from "./receive/receive_statistics.ts";
export type { DecompressionStatistics } from "./decompression/decompression_threads.ts";
export type { AccessOptions, RefusedConnections, ServerTlsOptions } from "./connecting/access.ts";
export type { SwitchoverAckOptions } from "../migration/protocol/switchover_ack.ts";
export type { SilentConnections } from "./connecting/sent_away.ts";
export type { DestinationStatistics, DestinationStatus } from "./statistics.ts";
export type { ArrivalFigures, ArrivalParts } from "./incoming/arrival_times.ts";
export type { ThreadLatency } from "./placing/thread_latencies.ts";
export type { Guest, GuestDevices, GuestMachine, GuestMemory } from "../migration/guest.ts";
export type { MapBlock, MemoryMap } from "../migration/memory/memory_map.ts";
export type { GuestBlock } from "../migration/memory/guest_block.ts";
export { MigrationError, type MigrationErrorCode } from "../migration/migration_error.ts";
export type { Backing } from "../ffi/memory.ts";
export {
  formatSocketAddress,
  parseSocketAddress,
  type SocketAddress,
  SocketAddressError,
} from "../ffi/socket_address.ts";
export { kvmAbsence, KvmAbsentError, type KvmEvent, KvmMachine } from "../ffi/kvm.ts";
export { KvmEvents } from "./memory/kvm_events.ts";
export { type KvmSlot, KvmSlots } from "./memory/kvm_slots.ts";
export { type UserfaultRange, UserfaultRanges } from "./memory/userfault_ranges.ts";
export { SyscallError } from "../ffi/errno.ts";
export { TlsError, type TlsErrorCode } from "../ffi/tls/tls_error.ts";
export { UnsupportedPlatformError } from "../ffi/platform.ts";
export { ThreadPool, type ThreadPoolOptions } from "../migration/threads/thread_pool.ts";
