/** The task that receives a remote image over one pair of connections. */

import type { ConnectionInit } from "../../../channel/connection.ts";
import type { TaskKind } from "../../../migration/threads/thread_pool.ts";
import type { RemoteCacheInit } from "./remote_cache.ts";

/** What it is made from. Descriptors and memory are the control plane's. */
export interface RemoteInit {
  readonly main: ConnectionInit;
  readonly preempt: ConnectionInit;
  /** Signalled when the task is to look at its state, or at what is wanted. */
  readonly wakeFd: number;
  /** Shared memory of the `RemoteState`. */
  readonly state: SharedArrayBuffer;
  /** What is here already; absent before the blocks are known. */
  readonly cache?: RemoteCacheInit;
  /** Whether the server asks first what is here; without, it sends all from the beginning. */
  readonly resumes: boolean;
}

/** What it tells. */
export type RemoteMessage =
  /** The blocks are known, and their memory was made: it is the control plane's from here on. */
  | { readonly kind: "opened"; readonly cache: RemoteCacheInit }
  /** The server answers requests: from here on another can go on. */
  | { readonly kind: "served" };

/** Beside the sessions that wait for it: on one thread with them it is woken without a hand-over. */
export const REMOTE_TASK: TaskKind<RemoteInit, RemoteMessage> = {
  thread: new URL("../lazy_worker.ts", import.meta.url),
  name: "remote",
  urgent: true,
};
