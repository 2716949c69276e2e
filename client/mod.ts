/** The destination side: runs a machine whose memory arrives on demand. */

export { Destination, type DestinationOptions } from "./destination.ts";
export { ImageReceiver, type ImageReceiverOptions } from "./receive/image_receiver.ts";
export type { ReceiveStatistics } from "./receive/receive_statistics.ts";
export type { DecompressionStatistics } from "./decompression/decompression_threads.ts";
export type { DestinationStatistics, DestinationStatus } from "./statistics.ts";
export type { ArrivalFigures, ArrivalParts } from "./incoming/arrival_times.ts";
export type { ThreadLatency } from "./placing/thread_latencies.ts";
export type { Guest, GuestDevices, GuestMachine, GuestMemory } from "../migration/guest.ts";
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
export { UnsupportedPlatformError } from "../ffi/platform.ts";
export { ThreadPool, type ThreadPoolOptions } from "../migration/threads/thread_pool.ts";
