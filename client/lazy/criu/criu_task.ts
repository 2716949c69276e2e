/** The urgent task of a process tree that CRIU restores: all of its processes' faults answered, and the rest filled. */

import type { ConnectionInit } from "../../../channel/connection.ts";
import type { TaskKind } from "../../../migration/threads/thread_pool.ts";
import type { OnLoss } from "../lazy_task.ts";
import type { QueueEnds, QueueItem } from "../../../ffi/descriptor_queue.ts";
import type { PagesFile } from "./criu_images.ts";
import type { DumpedProcess } from "./page_runs.ts";
import type { TakenDescriptor } from "./tree_pouch.ts";

/** Bytes of a header of CRIU's page server: up to 4.1, and from 4.2 on. */
export type HeaderBytes = 24 | 32;

/** The page server of a `criu dump --lazy-pages`. */
export interface PageServer {
  readonly connection: ConnectionInit;
  /** Where it is, for messages. */
  readonly name: string;
  readonly headerBytes: HeaderBytes;
  /** Some pages that it has, of a connection that another server had: to find out where its answers begin. */
  readonly resumeBy?: readonly KnownPage[] | undefined;
  /** Why it can be asked nothing any more. */
  readonly lost?: string | undefined;
}

/** A page of a process, by its number in the images and its address there. */
export interface KnownPage {
  readonly imageId: number;
  readonly address: number;
}

/** What outlives the server. Memory and the queue are the control plane's; what was taken over is the task's. */
export interface HeldInit {
  /** Address of the memory of a `TreeRecord`. */
  readonly record: number;
  readonly ends: QueueEnds;
  /** What is in the queue. */
  readonly items: readonly QueueItem[];
  /** Of a server before this one. */
  readonly taken: readonly TakenDescriptor[];
}

/** What is known of the order of a process's touches. */
export interface ProcessOrder {
  /** Number of its first page among those of all processes. */
  readonly firstPage: number;
  /** Shared memory of its own pages in their order, if that is known. */
  readonly plan: SharedArrayBuffer | undefined;
}

/** First message of the task. Descriptors and memory are the control plane's; those that come are the task's. */
export interface CriuInit {
  /** Where `criu restore` connects: the first who does is served. -1: it has, to a server before this one. */
  readonly listenerFd: number;
  /** Signalled when the task is to look at its state. */
  readonly wakeFd: number;
  /** Shared memory of a `LazyState`, for its flag alone. */
  readonly state: SharedArrayBuffer;
  readonly processes: readonly DumpedProcess[];
  readonly files: readonly PagesFile[];
  readonly server: PageServer | undefined;
  /** Where another server goes on, should this one die. */
  readonly held: HeldInit | undefined;
  /** Of processes by their number in the images: what is filled first, and where their pages are among all. */
  readonly orders: ReadonlyMap<number, ProcessOrder>;
  /** Shared memory of a `TouchLog`, where touches are noted. */
  readonly touches: SharedArrayBuffer | undefined;
  readonly onLoss: Exclude<OnLoss, "kill">;
  /** Whether memory is filled that nobody asks for. */
  readonly fill: boolean;
}

/** What the task tells; `id` is of the process within the tree. */
export type CriuMessage =
  /** A process is served from here on. `state` is the shared memory of its figures. */
  | {
    readonly kind: "process";
    readonly id: number;
    /** 0 for a child of a fork: nobody tells its number. */
    readonly pid: number;
    /** Of a child the process that forked. */
    readonly parent: number | undefined;
    readonly pages: number;
    readonly ranges: number;
    readonly state: SharedArrayBuffer;
  }
  | { readonly kind: "lost"; readonly id: number; readonly reason: string; readonly doing: OnLoss }
  | { readonly kind: "found"; readonly id: number }
  | { readonly kind: "held"; readonly id: number; readonly reason: string }
  /** It would not outlive this server. */
  | { readonly kind: "unheld"; readonly id: number; readonly reason: string }
  /** A process is served by nobody any more. `pid` is its number in the images, of a child that of an ancestor. */
  | { readonly kind: "missed"; readonly pid: number; readonly reason: string }
  /** All of its memory is in place. */
  | { readonly kind: "filled"; readonly id: number }
  /** It needs nothing any more. */
  | { readonly kind: "over"; readonly id: number }
  /** CRIU has connected: the listener is needed no longer. */
  | { readonly kind: "connected" }
  /** CRIU says that all processes are restored, and run. */
  | { readonly kind: "restored" }
  /** CRIU left before it said so, or said what cannot be understood. */
  | { readonly kind: "abandoned"; readonly reason: string };

/** The task on a pool's thread. It is done when no process needs memory any more. */
export const CRIU_TASK: TaskKind<CriuInit, CriuMessage> = {
  thread: new URL("../lazy_worker.ts", import.meta.url),
  name: "criu",
  urgent: true,
};
