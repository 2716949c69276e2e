/** What the control plane of an image and its task say to each other. */

import type { ConnectionInit } from "../../channel/connection.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import type { MigrationErrorCode } from "../../migration/migration_error.ts";
import type { SwitchoverAckInit } from "../../migration/protocol/switchover_ack.ts";
import type { EntranceRules } from "../connecting/entrance.ts";
import type { Decompression } from "../decompression/decompression.ts";
import type { SharedRounds } from "../multifd/multifd_channels.ts";
import type { SharedImage, WholeFrame } from "./image_memory.ts";

/** What the task is made from; structured-cloned into its thread. */
export interface ImageChannelInit {
  /** The main channel, whose other direction is the return path; none yet for a file that is taken up. */
  readonly main: ConnectionInit;
  /** What the file holds that another receiver has left; absent for one that is new. */
  readonly takenUp?: WholeFrame;
  /** Where further connections come from, as far as that is known before there are any. */
  readonly entrance: EntranceRules;
  /** Begins a step, whatever else it waits for. */
  readonly wakeFd: number;
  /** Shared memory of the {@linkcode ReceiveState}. */
  readonly state: SharedArrayBuffer;
  /** The file that is written, new and empty, or taken up. */
  readonly fileFd: number;
  /** Its name until it is complete. */
  readonly partialPath: string;
  /** Its name then. */
  readonly path: string;
  /** Directory of both. */
  readonly directory: string;
  /** Whether a file of that name may be replaced. */
  readonly overwrite: boolean;
  /** What compressed pages pass through. */
  readonly decompression: Decompression;
  /** Channels of multifd beside the main one; absent: none is expected. */
  readonly multifd?: SharedRounds;
  /** Whether its source waits for an approval of the switchover; absent: QEMU's capability is off. */
  readonly approval?: SwitchoverAckInit | undefined;
}

/** What it tells the control plane. */
export type ImageChannelMessage =
  | { readonly kind: "configuration"; readonly machine: string }
  /** The memory is known: other channels may write into the image. */
  | { readonly kind: "opened"; readonly image: SharedImage }
  /** The source listens to what is said to it. */
  | { readonly kind: "return-path" }
  /** The pages are compressed in this way: threads are wanted. */
  | { readonly kind: "compressed"; readonly method: CompressionMethod }
  /** LISTEN: the preempt channel may speak. */
  | { readonly kind: "listening" }
  /** The guest has stopped at the source. */
  | { readonly kind: "switchover" }
  /**
   * The file can be taken up, should the receiver be killed; pages go on arriving. Also once a source has
   * resumed.
   */
  | { readonly kind: "postcopy" }
  /** The connection is gone, the source keeps the guest, and may come again. */
  | { readonly kind: "paused"; readonly code: MigrationErrorCode; readonly reason: string }
  /** A source resumes over this connection, the receiver's to close; the one before is in use no more. */
  | { readonly kind: "recovering"; readonly main: ConnectionInit }
  /** The file cannot be written and the source cannot take the guest back: it is tried again and again. */
  | { readonly kind: "waiting"; readonly reason: string };
