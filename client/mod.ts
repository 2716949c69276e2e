/** The destination side: runs a machine whose memory arrives on demand. */

export { Destination, type DestinationOptions } from "./destination.ts";
export type { DestinationStatistics, DestinationStatus } from "./statistics.ts";
export type { ThreadLatency } from "./thread_latencies.ts";
export type { Guest, GuestBlock, GuestMemory } from "./guest.ts";
export { MigrationError, type MigrationErrorCode } from "../migration/migration_error.ts";
export type { Backing } from "../ffi/memory.ts";
export {
  formatSocketAddress,
  parseSocketAddress,
  type SocketAddress,
  SocketAddressError,
} from "../ffi/socket_address.ts";
export { SyscallError } from "../ffi/errno.ts";
export { UnsupportedPlatformError } from "../ffi/platform.ts";
