/** A plain TCP stream of bytes, at the priority of the project's background threads. */

import { Errno, SyscallError } from "../../ffi/errno.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { receive, sendFrom } from "../../ffi/socket_calls.ts";
import { becomeBackgroundThread } from "../../ffi/scheduling.ts";

/** Bytes given to one send and asked of one recv. */
const BATCH = 256 * 1024;

/**
 * Sends memory in rounds until the peer goes or `wakeFd` is signalled.
 *
 * @param memoryBytes how much memory to send from, so that it comes from memory and not from a cache
 */
export function sendBulk(fd: number, wakeFd: number, memoryBytes: number): void {
  becomeBackgroundThread();
  using memory = MappedMemory.anonymous(memoryBytes);
  memory.populate();
  const batches: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < memoryBytes; at += BATCH) batches.push(memory.bytes(at, BATCH));
  const poll = new PollSet(2);
  poll.watch(0, fd, PollEvents.OUT);
  poll.watch(1, wakeFd, PollEvents.IN);
  for (let batch = 0;; batch = (batch + 1) % batches.length) {
    let rest = batches[batch]!;
    while (rest.length > 0) {
      const count = sendFrom(fd, rest, rest.length);
      if (count >= 0) rest = rest.subarray(count);
      else if (count === -Errno.EPIPE || count === -Errno.ECONNRESET) return;
      else if (count !== -Errno.EAGAIN) throw new SyscallError("send", -count);
      else {
        while (poll.wait(-1) === 0);
        if (poll.ready(1) !== 0) return;
      }
    }
  }
}

/**
 * Takes what comes until the peer goes or `wakeFd` is signalled.
 *
 * @param received its first slot is kept at the bytes received so far
 */
export function receiveBulk(fd: number, wakeFd: number, received: Float64Array): void {
  becomeBackgroundThread();
  using memory = MappedMemory.anonymous(BATCH);
  memory.populate();
  const address = BigInt(memory.address);
  const poll = new PollSet(2);
  poll.watch(0, fd, PollEvents.IN);
  poll.watch(1, wakeFd, PollEvents.IN);
  while (true) {
    while (poll.wait(-1) === 0);
    if (poll.ready(1) !== 0) return;
    const count = receive(fd, address, BATCH);
    if (count > 0) received[0]! += count;
    else if (count === 0 || count === -Errno.ECONNRESET) return;
    else if (count !== -Errno.EAGAIN) throw new SyscallError("recv", -count);
  }
}
