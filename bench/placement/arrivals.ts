/** Ways to bring pages from a socket into place: received in place, or received and copied. */

import { Errno, SyscallError } from "../../ffi/errno.ts";
import { Listener } from "../../ffi/listener.ts";
import type { Backing } from "../../ffi/memory.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { Socket } from "../../ffi/socket.ts";
import { receive } from "../../ffi/socket_calls.ts";
import { FloorThread } from "../floors/jobs.ts";
import { type Arena, PAGE, PIECE, RECORD } from "./arena.ts";

/** A way from the socket to the page. */
export interface Arrival {
  /** What the table calls it. */
  readonly name: string;
  /** What it places in. */
  readonly backing: Backing;
  /** Receives and places all pages of an arena. */
  readonly fill: (arena: Arena, fd: number) => void;
}

/** Memory that the sender sends from. */
const SENDER_BYTES = 64 * 1024 * 1024;
const RUN = 16;
const CONTINUE_RUN = 64;

/** Receives exactly so many bytes. */
class Input {
  readonly #fd: number;
  readonly #poll = new PollSet(1);

  constructor(fd: number) {
    this.#fd = fd;
    this.#poll.watch(0, fd, PollEvents.IN);
  }

  take(address: number, length: number): void {
    for (let done = 0; done < length;) done += this.some(address + done, length - done);
  }

  some(address: number, length: number): number {
    while (true) {
      const count = receive(this.#fd, BigInt(address), length);
      if (count > 0) return count;
      if (count !== -Errno.EAGAIN) throw new SyscallError("recv", -count);
      this.#poll.wait(-1);
    }
  }
}

/** As the destination does: large pieces, pages gathered from them. */
function receiveAndCopy({ memory, piece, batch, placer, pages }: Arena, fd: number): void {
  const input = new Input(fd);
  const from = piece.bytes();
  const gathered = batch.bytes();
  let filled = 0;
  for (let done = 0; done < pages;) {
    filled += input.some(piece.address + filled, PIECE - filled);
    let at = 0;
    while (at + RECORD <= filled && done < pages) {
      let run = 0;
      for (; run < RUN && at + RECORD <= filled && done + run < pages; run++, at += RECORD) {
        gathered.set(from.subarray(at + 8, at + RECORD), run * PAGE);
      }
      placer.copy(memory.address + done * PAGE, batch.address, run * PAGE);
      done += run;
    }
    from.copyWithin(0, at, filled);
    filled -= at;
  }
}

/** The header, then the page where it belongs, through the alias. */
function receiveInPlace({ memory, alias, piece, placer, pages }: Arena, fd: number): void {
  const input = new Input(fd);
  for (let first = 0; first < pages; first += CONTINUE_RUN) {
    for (let page = first; page < first + CONTINUE_RUN; page++) {
      input.take(piece.address, 8);
      input.take(alias.address + page * PAGE, PAGE);
    }
    placer.continue(memory.address + first * PAGE, CONTINUE_RUN * PAGE);
  }
}

/** The ways, the destination's own first. */
export const ARRIVALS: readonly Arrival[] = [
  {
    name: "recv 512 KiB, gather, UFFDIO_COPY by 16",
    backing: "anonymous",
    fill: receiveAndCopy,
  },
  { name: "recv 512 KiB, gather, UFFDIO_COPY by 16", backing: "memfd", fill: receiveAndCopy },
  {
    name: "recv header, recv page into alias, UFFDIO_CONTINUE by 64",
    backing: "memfd",
    fill: receiveInPlace,
  },
];

/** Runs something with a socket on which a stream arrives over loopback without end. */
export async function withStream(use: (fd: number) => void): Promise<void> {
  using listener = await Listener.listen({ transport: "tcp", host: "127.0.0.1", port: 0 });
  using sending = await Socket.connect(listener.address);
  using receiving = await listener.accept();
  await using _sender = new FloorThread({
    name: "send-bulk",
    fd: sending.fd,
    memoryBytes: SENDER_BYTES,
  });
  await new Promise((resolve) => setTimeout(resolve, 300)); // until its thread runs
  use(receiving.fd);
  receiving.shutdown();
}
