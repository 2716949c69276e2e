/** What an outgoing migration is made from. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { ThreadPool } from "../../migration/threads/thread_pool.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { CompressionOptions } from "../compression/compression_settings.ts";
import type { MultifdOptions } from "../multifd/multifd_settings.ts";
import type { OrderInit } from "../order/order_init.ts";
import type { SwitchoverAckOptions } from "../../migration/protocol/switchover_ack.ts";
import type { PageSource } from "../../pages/page_locator.ts";
import type { Caller } from "./caller.ts";
import type { Mode } from "../sending/mode.ts";
import type { SourceStatus } from "./statistics.ts";

/** How the connections to a destination are encrypted, and by what each end knows the other. */
export interface SourceTlsOptions {
  /**
   * A directory with files named as QEMU names them: `ca-cert.pem`, and `client-cert.pem` with
   * `client-key.pem` where the destination asks for a certificate; or `keys.psk`. Or a file of pre-shared keys.
   * Read once, when the source is made.
   */
  readonly credentials: string;
  /**
   * The name, or address, that the destination's certificate must have; default the host of the address
   * that is connected to. Needed for unix sockets, and where a tunnel or another address leads there.
   */
  readonly hostname?: string;
  /** The identity of the pre-shared key; default `"qemu"`. Not with certificates. */
  readonly username?: string;
  /**
   * Whether the destination's certificate is checked; default true. With false the memory is encrypted for
   * whoever answers there.
   */
  readonly verifyPeer?: boolean;
}

/** How to reach the destination, and what holds for every outgoing migration. */
export interface OutgoingOptions extends SwitchoverAckOptions {
  /** Where the destination listens. */
  readonly to: SocketAddress;
  /**
   * A destination that has connected to this end: then nothing is connected to, and a connection that breaks
   * ends the migration, which another one goes on with once the destination calls again.
   *
   * @internal
   */
  readonly caller?: Caller;
  /** How every connection is encrypted; default: not at all, so that whoever can listen can read the memory. */
  readonly tls?: SourceTlsOptions;
  /** Who sends requested pages and where; default `"preempt-full"`. */
  readonly mode?: Mode;
  /** Bytes a second of the background stream; requested pages are never limited. Default 0, no limit. */
  readonly maxPostcopyBandwidth?: number;
  /**
   * Milliseconds after which a destination that takes nothing counts as stalled, and one that gives no sign of
   * life as gone, also at rest; default 30000, at most a day. The destination has the same option for the source.
   */
  readonly stallTimeout?: number;
  /**
   * Microseconds for which the thread that hears requests looks for the next before it sleeps, at
   * the price of a busy core; default 0. Helps where cores are idle: waking one takes 70 us.
   */
  readonly spin?: number;
  /** How the main channel's pages are compressed; default: not at all. */
  readonly compress?: CompressionOptions;
  /**
   * Channels on which pages go before the guest runs at the destination, which must expect as many; default:
   * they go on the main channel. Not with `compress`.
   */
  readonly multifd?: MultifdOptions;
  /** Threads that serve it; default the process's own pool, {@linkcode ThreadPool.shared}. */
  readonly pool?: ThreadPool;
  /**
   * Milliseconds for which a migration that is paused, because its connection broke after the guest ran at
   * the destination, tries to connect again; default Infinity.
   */
  readonly recoverTimeout?: number;
  /**
   * Called before each try to connect again, by who can speak to the destination itself: it has the destination
   * listen, and says where it does; `"completed"` when that says that it has everything, `"failed"` when it
   * says that it does not run the guest, `"not-yet"` when it cannot listen now. Undefined, and whatever it throws:
   * it is tried where it listened before.
   *
   * @param signal aborted when nobody waits any more
   */
  readonly listenAgain?: (
    signal: AbortSignal,
  ) => Promise<SocketAddress | "completed" | "failed" | "not-yet" | undefined>;
  /**
   * Called when the migration stands somewhere else.
   *
   * @param status where
   * @param reason why it is paused
   */
  readonly onStatus?: (status: SourceStatus, reason?: Error) => void;
  /** Called with what the user should know of a migration that goes on all the same. */
  readonly onNote?: (text: string) => void;
  /** Cancels the migration. */
  readonly signal?: AbortSignal;
}

/** What moves. */
export interface OutgoingMemory {
  /** The blocks, their pages numbered. */
  readonly layout: RamLayout;
  /** Where the pages lie, until the migration is closed. */
  readonly pages: PageSource;
  /** Machine type: it decides how the preempt channel is opened. */
  readonly machine: string;
  /** The machine's UUID, if it is known. */
  readonly uuid?: string;
  /** The `ram` section's id in the stream. */
  readonly sectionId: number;
  /** Throws when the pages cannot be sent as they are now: before each connection; absent for memory. */
  readonly check?: () => void;
  /** Whether a guest goes on here unless the destination says that it is loaded there. */
  readonly live: boolean;
  /** In which order the pages go, and what is noted; absent: as they lie, and nothing. */
  readonly order?: OrderInit;
}
