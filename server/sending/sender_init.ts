/** What every sending task of a migration is made from. */

import type { ConnectionInit } from "../../channel/connection.ts";
import type { TlsSessionInit } from "../../ffi/tls/session.ts";
import type { RamBlockSize } from "../../migration/memory/ram_layout.ts";
import type { CompressionInit } from "../compression/compression_slots.ts";
import type { MultifdInit } from "../multifd/packet_slots.ts";
import type { OrderInit } from "../order/order_init.ts";
import type { PageSource } from "../../pages/page_locator.ts";
import type { Mode } from "./mode.ts";

/**
 * Entries of the ring that takes requested pages from the request server to the background sender. A
 * destination asks once for a page and has at most one fault a thread under way, so this holds more than
 * any guest's vCPUs; when it is full the return path is simply read later.
 */
export const REQUEST_RING_CAPACITY = 16384;

/** Plain data, structured-cloned into a thread. */
export interface SenderInit {
  /** The RAM blocks, in the order of the stream. */
  readonly blocks: readonly RamBlockSize[];
  /** Bytes of a target page. */
  readonly targetPageSize: number;
  /** Where the pages lie. */
  readonly pages: PageSource;
  /** Shared memory of the dirty bitmap. */
  readonly dirty: SharedArrayBuffer;
  /** Shared memory of the {@linkcode SourceState}. */
  readonly state: SharedArrayBuffer;
  /** Shared memory of the ring of pages that wait for the background sender (vanilla, preempt). */
  readonly requests: SharedArrayBuffer;
  /** Signalled when a page was put into that ring. */
  readonly requestFd: number;
  /** Which of the modes. */
  readonly mode: Mode;
  /** The main channel, whose other direction is the return path. */
  readonly main: ConnectionInit;
  /** The preempt channel's TLS session, made before it is connected; absent: it is in clear. */
  readonly preempt?: TlsSessionInit;
  /** Ends the task's waits when a flag of the state changes. */
  readonly wakeFd: number;
  /** The compression threads; absent when pages are sent as they are. */
  readonly compression?: CompressionInit;
  /** The channels that take the pages; absent: they go on the main channel. */
  readonly multifd?: MultifdInit;
  /** In which order pages go, and what is noted of what is asked for; absent: as they lie, and nothing. */
  readonly order?: OrderInit;
  /** Milliseconds without progress after which the destination counts as stalled. */
  readonly stallTimeout: number;
}

/**
 * The preempt channel, as it is connected.
 *
 * @param fd of its socket, which the migration's state tells
 */
export function preemptChannel(
  { preempt }: Pick<SenderInit, "preempt">,
  fd: number,
): ConnectionInit {
  return preempt === undefined ? { fd } : { fd, tls: { ...preempt, fd } };
}
