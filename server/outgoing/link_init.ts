/** What the links of one migration have in common. */

import { checkStallTimeout } from "../../ffi/peer_watch.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import type { Mode } from "../sending/mode.ts";
import type { SourceState } from "../sending/source_state.ts";
import type { Caller } from "./caller.ts";
import { Encryption } from "./encryption.ts";
import {
  type PreemptRules,
  preemptRules,
  type RecoveryRules,
  recoveryRules,
} from "./machine_type.ts";
import type { OutgoingMemory, OutgoingOptions } from "./outgoing_options.ts";
import type { SourceTimes } from "./statistics.ts";

/** What every link of a migration is made from. */
export interface LinkInit {
  readonly memory: OutgoingMemory;
  readonly pool: ThreadPool;
  readonly mode: Mode;
  readonly rules: PreemptRules;
  readonly recovery: RecoveryRules;
  /** The destination's connections, where it makes them itself; undefined: this end does. */
  readonly caller: Caller | undefined;
  /** How connections are encrypted that this end makes; undefined: not at all. */
  readonly encryption: Encryption | undefined;
  /** Shared with the tasks. */
  readonly state: SourceState;
  /** Pages that no sender has claimed. */
  readonly dirty: PageBitmap;
  readonly times: SourceTimes;
  /** Milliseconds without progress after which the destination counts as stalled. */
  readonly stallTimeout: number;
  /** Microseconds for which the return path is looked at again after a request. */
  readonly spin: number;
  /** Tells the user what there is to know. */
  readonly onNote: (text: string) => void;
  /** Ends the migration, and every link with it. */
  readonly signal: AbortSignal;
}

/**
 * Makes it from a migration's options. The encryption is the caller's to close.
 *
 * @throws {RangeError} for a time that cannot be
 * @throws {TlsError} for credentials that cannot be used
 * @throws {SyscallError} when pages cannot be copied here to be encrypted
 */
export function newLinkInit(
  memory: OutgoingMemory,
  options: OutgoingOptions,
  { state, times, signal }: Pick<LinkInit, "state" | "times" | "signal">,
): LinkInit {
  const stallTimeout = checkStallTimeout(options.stallTimeout);
  const dirty = new PageBitmap(memory.layout.pageLimit);
  for (const { firstPage, pageCount } of memory.layout.blocks) dirty.fill(firstPage, pageCount);
  const pool = options.pool ?? ThreadPool.shared;
  const note = (text: string) => options.onNote?.(text);
  const { tls, to, caller, maxPostcopyBandwidth = 0 } = options;
  state.maxPostcopyBandwidth = maxPostcopyBandwidth;
  return {
    memory,
    pool,
    mode: options.mode ?? "preempt-full",
    rules: preemptRules(memory.machine),
    recovery: caller === undefined ? recoveryRules(memory.machine) : { mayBreak: true }, // one of ours
    caller,
    encryption: tls === undefined ? undefined : new Encryption(tls, { to, pool, note }),
    state,
    dirty,
    times,
    stallTimeout,
    spin: options.spin ?? 0,
    onNote: note,
    signal,
  };
}
