/** Taking over a userfaultfd from whoever connects: Firecracker, or what speaks as it does. */

import { DescriptorReceiver } from "../../ffi/descriptor_passing.ts";
import { Errno, errnoName, SyscallError } from "../../ffi/errno.ts";
import { closeDescriptor, makeNonBlocking } from "../../ffi/descriptors.ts";
import { PagePlacer } from "../../ffi/page_placer.ts";
import { type PeerProcess, peerProcess } from "../../ffi/peer_process.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { Socket } from "../../ffi/socket.ts";
import { waitReady } from "../../ffi/wait_ready.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { FirecrackerMessage } from "./firecracker_message.ts";
import { checkedRegions, type Region } from "./region.ts";

/** Milliseconds in which the message must have come: it is sent with the connection. */
const PATIENCE = 30_000;
const BUFFER_BYTES = 64 * 1024;

/** Memory that was handed over. Its descriptors belong to whoever has it. */
export interface Handover extends Disposable {
  /** The userfaultfd, non-blocking. */
  readonly uffd: number;
  /** The connection, which says no more; its end tells that the process is gone. */
  readonly socket: Socket;
  /** Who connected. */
  readonly peer: PeerProcess;
  /** Sorted by address. */
  readonly regions: readonly Region[];
}

/**
 * Receives what a process hands over, which may come in any pieces.
 *
 * @param socket the connection; it is closed when this fails, or with what is returned
 * @param memoryLength bytes of the memory that the image holds
 * @throws {MigrationError} `BAD_PEER` for what cannot be served, `CONNECTION_LOST`
 * @throws {DOMException} `TimeoutError` when it says too little for too long; the signal's reason
 */
export async function receiveHandover(
  socket: Socket,
  memoryLength: number,
  signal: AbortSignal,
): Promise<Handover> {
  using stack = new DisposableStack();
  stack.use(socket);
  // Before anything is awaited: its number is given out again once it has ended.
  const peer = peerProcess(socket.fd);
  if (peer.pidfd >= 0) stack.defer(() => closeDescriptor(peer.pidfd));
  const bytes = new Uint8Array(BUFFER_BYTES);
  const receiver = new DescriptorReceiver(bytes);
  stack.defer(() => receiver.closeAll());
  const message = new FirecrackerMessage();
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
  while (!message.complete) {
    const count = receiver.receive(socket.fd);
    if (count > 0) message.take(bytes.subarray(0, count));
    else if (count === -Errno.EAGAIN) {
      await waitReady(socket.fd, PollEvents.IN, "a message of regions", { signal: deadline });
    } else if (count !== -Errno.EINTR) throw endedEarly(count, message.length);
  }
  const uffd = onlyDescriptor(receiver);
  const regions = checkedRegions(message.regions(), memoryLength);
  requireUserfaultfd(uffd, regions);
  makeNonBlocking(uffd); // a blocking one cannot be polled
  receiver.descriptors.length = 0;
  stack.defer(() => closeDescriptor(uffd));
  const owned = stack.move();
  return { uffd, socket, peer, regions, [Symbol.dispose]: () => owned.dispose() };
}

function onlyDescriptor({ descriptors, lost }: DescriptorReceiver): number {
  if (lost) {
    throw new MigrationError(
      "BAD_PEER",
      "Userfaultfd that could not be taken, no descriptor is left: raise the limit with ulimit -n",
    );
  }
  if (descriptors.length === 1) return descriptors[0]!;
  throw new MigrationError(
    "BAD_PEER",
    `Descriptors that came with the regions are not one: ${descriptors.length}: connect with ` +
      "mem_backend of type Uffd",
  );
}

function requireUserfaultfd(fd: number, [region]: readonly Region[]): void {
  try {
    new PagePlacer(fd).wake(region!.address, region!.pageSize);
  } catch (cause) {
    const code = cause instanceof SyscallError ? cause.code : `${cause}`;
    throw new MigrationError(
      "BAD_PEER",
      `Descriptor that came with the regions is no userfaultfd: ${code}: connect with mem_backend ` +
        "of type Uffd",
      { cause },
    );
  }
}

function endedEarly(count: number, length: number): MigrationError {
  const how = count === 0 ? "the connection ended" : errnoName(-count);
  return new MigrationError(
    "CONNECTION_LOST",
    `No whole message of regions came: ${how} after ${length} bytes`,
  );
}
