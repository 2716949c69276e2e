/** Channels of multifd whose pages go into the memory of a guest that will run here. */

import type { Backing } from "../../ffi/memory.ts";
import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import type { MultifdHello } from "../multifd/multifd_channel.ts";
import type { MultifdTaskInit } from "../multifd/multifd_channels.ts";
import type { ListeningBlocks } from "../placing/guest_memory_store.ts";

/** The memory, as a channel's task needs to know it. */
export interface GuestPlace {
  /** The userfaultfd, owned elsewhere. */
  readonly uffd: number;
  readonly backing: Backing;
  /** Shared memory of the {@linkcode DestinationState}. */
  readonly state: SharedArrayBuffer;
  readonly blocks: ListeningBlocks;
}

/** Receiving one, on threads that give way to those that serve faults. */
export const MULTIFD_GUEST_TASK: TaskKind<MultifdTaskInit<GuestPlace>, MultifdHello> = {
  thread: new URL("./multifd_guest_worker.ts", import.meta.url),
  name: "multifd guest",
  urgent: false,
};
