/** The urgent task of memory that was handed over: its faults answered, and the rest filled. */

import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import type { MemoryPages } from "./memory_pages.ts";
import type { ArrivingInit } from "./remote/arriving_memory.ts";
import type { Region } from "./region.ts";

/**
 * What is done about whoever wants a page that cannot be had, as long as it cannot. `hold`: waits until it can.
 * `poison`: gets SIGBUS (Linux 6.6). `kill`: its process is ended.
 */
export type OnLoss = "hold" | "poison" | "kill";
/** All of them. */
export const ON_LOSS = ["hold", "poison", "kill"] as const satisfies readonly OnLoss[];

/** First message of a session's task. Descriptors and memory are the control plane's. */
export interface LazyInit {
  readonly uffd: number;
  /** The connection by which it came; -1 when there is none any more. */
  readonly socketFd: number;
  /** Of the process whose memory it is; -1 when none could be had. */
  readonly pidfd: number;
  /** Signalled when the task is to look at its state. */
  readonly wakeFd: number;
  /** As `checkedRegions` returned them. */
  readonly regions: readonly Region[];
  readonly memory: MemoryPages;
  /** Where its pages come from elsewhere, the session's place there. */
  readonly arriving?: ArrivingInit | undefined;
  /** Address of the memory of a `RemovalRecord`. */
  readonly record: number;
  /** Shared memory of the bitmap of pages in place. */
  readonly placed: SharedArrayBuffer;
  /** Shared memory of its `LazyState`. */
  readonly state: SharedArrayBuffer;
  /** Shared memory of pages that are filled first, if there are any. */
  readonly plan?: SharedArrayBuffer | undefined;
  /** Shared memory of a `TouchLog`, where touches are noted. */
  readonly touches?: SharedArrayBuffer | undefined;
  /** Whether what is placed is write-protected, so that what was written since can be told. */
  readonly protect: boolean;
  readonly onLoss: OnLoss;
  /** Whether memory is filled that nobody asks for. */
  readonly fill: boolean;
}

/** What a session's task tells. */
export type LazyMessage =
  /** Pages cannot be had. */
  | { readonly kind: "lost"; readonly reason: string; readonly doing: OnLoss }
  /** They can be had again. */
  | { readonly kind: "found" }
  /** What was asked for by `onLoss` cannot be done: whoever waits is held. */
  | { readonly kind: "held"; readonly reason: string }
  /** All that was not removed is in place. */
  | { readonly kind: "filled" }
  /** All events that were there when a question was asked (`LazyState.ask`) are read, and what they tell is known. */
  | { readonly kind: "read"; readonly asked: number };

/** A session's task on a pool's thread. It is done when the process is gone. */
export const LAZY_TASK: TaskKind<LazyInit, LazyMessage> = {
  thread: new URL("./lazy_worker.ts", import.meta.url),
  name: "lazy",
  urgent: true,
};
