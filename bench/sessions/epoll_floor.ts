/** The floor of page requests on many connections: small messages there, pages back, one thread, one epoll. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Epoll } from "../../ffi/epoll.ts";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { receive, sendFrom, setQuickAck } from "../../ffi/socket_calls.ts";
import { REPLY_BYTES, REQUEST_BYTES } from "../floors/request_reply.ts";
import { type Walk, Walker } from "./walk.ts";

/** Sends bytes to a peer that waits for nothing else: there is always room. */
function sendWhole(fd: number, bytes: Uint8Array, length: number): void {
  const count = sendFrom(fd, bytes, length);
  if (count === length) return;
  if (count < 0) throw new SyscallError("send", -count);
  throw new Error(`Socket took ${count} bytes of ${length}`);
}

/** Receives what is there, `length` bytes at most; 0 for nothing yet, -1 when the peer has gone. */
function receiveSome(fd: number, address: bigint, length: number): number {
  const count = receive(fd, address, length);
  if (count > 0) return count;
  if (count === -Errno.EAGAIN) return 0;
  if (count === 0 || count === -Errno.ECONNRESET) return -1;
  throw new SyscallError("recv", -count);
}

/**
 * The source's thread: answers requests with pages until `wakeFd` is signalled.
 *
 * @param fds sockets
 */
export function answerAll(fds: readonly number[], wakeFd: number): void {
  using memory = MappedMemory.anonymous(REPLY_BYTES);
  memory.populate();
  const address = BigInt(memory.address);
  const reply = memory.bytes();
  const have = new Uint8Array(fds.length);
  using epoll = new Epoll();
  fds.forEach((fd, tag) => epoll.add(fd, PollEvents.IN, tag));
  epoll.add(wakeFd, PollEvents.IN, fds.length);
  while (true) {
    const count = epoll.wait(Infinity);
    for (let event = 0; event < count; event++) {
      const tag = epoll.tag(event);
      if (tag === fds.length) return;
      const fd = fds[tag]!;
      const received = receiveSome(fd, address, REQUEST_BYTES - have[tag]!);
      if (received < 0) {
        epoll.remove(fd);
        continue;
      }
      setQuickAck(fd);
      have[tag]! += received;
      if (have[tag] !== REQUEST_BYTES) continue;
      have[tag] = 0;
      sendWhole(fd, reply, REPLY_BYTES);
    }
  }
}

/**
 * The destination's thread: asks for pages on one socket after the other, one at a time.
 *
 * @param fds sockets
 * @param walk when
 * @returns the time of each request from before it to the whole page, nanoseconds
 */
export function askInTurn(fds: readonly number[], walk: Walk): Float64Array<ArrayBuffer> {
  using memory = MappedMemory.anonymous(REPLY_BYTES);
  memory.populate();
  const address = BigInt(memory.address);
  const request = new Uint8Array(REQUEST_BYTES);
  const poll = new PollSet(1);
  return new Walker().follow(walk, () => true, (touch) => {
    const fd = fds[touch % fds.length]!;
    const before = monotonicNanoseconds();
    sendWhole(fd, request, REQUEST_BYTES);
    poll.watch(0, fd, PollEvents.IN);
    for (let left = REPLY_BYTES; left > 0;) {
      while (poll.wait(-1) === 0);
      const received = receiveSome(fd, address, left);
      if (received < 0) throw new Error("Connection ended during the measurement");
      left -= received;
    }
    setQuickAck(fd);
    return monotonicNanoseconds() - before;
  });
}
