/**
 * Worker entry: a source's precopy thread that writes to the guest's memory, as the guest may, just
 * before it looks what was written. So a round leaves something for the next one however fast the
 * rounds are, and whether the guest's threads got a processor meanwhile or not. How much is in the
 * entry's address: a {@linkcode Writes}.
 *
 * @module
 */

import { libc } from "../../ffi/libc.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { DirtyTracker } from "../../server/live/dirty_tracker.ts";
import { LiveState } from "../../server/live/live_state.ts";
import {
  type PrecopyInit,
  type PrecopyMessage,
  PrecopySender,
} from "../../server/live/precopy_sender.ts";

const PAGE = 4096;
const asked = new URL(import.meta.url).searchParams;
const rounds = Number(asked.get("rounds"));
const every = Number(asked.get("every"));
const { collect } = DirtyTracker.prototype;

libc();
runWorkerThread<PrecopyInit, PrecopyMessage>((init, tell) => {
  const live = new LiveState(init.live);
  let looks = 0;
  DirtyTracker.prototype.collect = function (dirty) {
    // The last look comes when the guest has stopped.
    if (++looks <= rounds && !live.guestStopped) {
      for (const { address, length } of init.tracked) {
        const words = new Int32Array(viewMemory(address, length).buffer);
        for (let at = 0; at < length; at += every * PAGE) words[at / 4] = looks;
      }
    }
    return collect.call(this, dirty);
  };
  using sender = new PrecopySender(init, tell);
  sender.run();
});
