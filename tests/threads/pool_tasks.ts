/** Tasks for tests of a pool: see pool_tasks_worker.ts. */

import type { TaskKind } from "../../migration/threads/thread_pool.ts";

/** What they tell. */
export type PoolMessage =
  | { readonly kind: "thread"; readonly id: number }
  | { readonly kind: "counted" }
  | { readonly kind: "woken"; readonly found: number }
  | { readonly kind: "disposed" };

/** First message of a counter. */
export interface CounterInit {
  readonly fd: number;
  readonly counts: SharedArrayBuffer;
  readonly index: number;
  readonly limit: number;
}

/** The module of the threads. */
export const THREAD: URL = new URL("./pool_tasks_worker.ts", import.meta.url);

function kind<I>(name: string): TaskKind<I, PoolMessage> {
  return { thread: THREAD, name, urgent: true };
}

/** Counts what its eventfd brings. */
export const COUNT: TaskKind<CounterInit, PoolMessage> = kind("count");
/** Sleeps once. */
export const SLEEP: TaskKind<{ readonly fd: number; readonly nanoseconds: number }, PoolMessage> =
  kind("sleep");
/** Has always something to do: word 0 ends it, word 1 counts its steps. */
export const GREEDY: TaskKind<{ readonly stop: SharedArrayBuffer }, PoolMessage> = kind("greedy");
/** Throws at its second step. */
export const FAIL: TaskKind<string, PoolMessage> = kind("fail");
/** Throws when it is made. */
export const UNMADE: TaskKind<null, PoolMessage> = kind("unmade");
