/** What a fault server and its control plane tell each other. */

import type { ConnectionInit } from "../../channel/connection.ts";
import type { SharedHandover } from "../connecting/main_handover.ts";
import type { IncomingConnections } from "../connecting/preempt_door.ts";
import type { ListeningBlocks } from "../placing/guest_memory_store.ts";

/** What a fault server is made from; structured-cloned into its thread. */
export interface FaultServerInit {
  /** Where the blocks lie, and their bitmaps. */
  readonly blocks: ListeningBlocks;
  /** The userfaultfd. */
  readonly uffd: number;
  /** The main channel, whose other direction is the return path. */
  readonly main: ConnectionInit;
  /** Ends its waits. */
  readonly wakeFd: number;
  /** Ends the waits of the task that reads the main channel. */
  readonly mainWakeFd: number;
  /** Shared memory of the {@linkcode MainHandover}. */
  readonly handover: SharedHandover;
  /** Shared memory of the ring of places where a source may connect too. */
  readonly listeners: SharedArrayBuffer;
  /** Shared memory of the {@linkcode DestinationState}. */
  readonly state: SharedArrayBuffer;
  /** Shared memory of the ring of PONGs from the main channel's task. */
  readonly answers: SharedArrayBuffer;
  /** Shared memory of the ring of PONGs and SHUT from the control plane. */
  readonly controlAnswers: SharedArrayBuffer;
  /** Shared memory of the ring of requested pages that came on the main channel. */
  readonly landed: SharedArrayBuffer;
  /** Connections of which one may be the preempt channel. */
  readonly incoming: IncomingConnections;
  /** Microseconds to look again and again before sleeping, while a page is awaited. */
  readonly spin: number;
  /** It takes over from one whose thread has died, and holds until a source resumes. */
  readonly anew?: boolean;
}

/** What the fault server tells the control plane. */
export type FaultMessage =
  /** The socket has taken so many answers of the control plane. */
  | { readonly kind: "answered"; readonly count: number }
  | { readonly kind: "completed" }
  | Paused
  /** After that break a source came that resumes; the connection is the control plane's to close. */
  | { readonly kind: "recovering"; readonly breaks: number; readonly main: ConnectionInit }
  /** It has resumed. */
  | { readonly kind: "recovered"; readonly breaks: number };

/** The source went, for the `breaks`th time. */
export interface Paused {
  readonly kind: "paused";
  readonly breaks: number;
  readonly code: string;
  readonly reason: string;
}
