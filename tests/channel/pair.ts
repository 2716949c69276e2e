/** Two connected sockets of this process, to stand at the ends of a channel. */

import { Listener } from "../../ffi/listener.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { LOOPBACK } from "../support/migrate.ts";

/** Both ends of a connection; closing it twice does nothing. */
export class Pair implements Disposable {
  readonly #stack = new DisposableStack();

  private constructor(readonly here: Socket, readonly there: Socket) {
    this.#stack.use(here);
    this.#stack.use(there);
  }

  /** Connects two sockets over loopback. */
  static connect(): Promise<Pair> {
    return Pair.#connect(LOOPBACK);
  }

  /** Connects two unix sockets: one that has no room has none until the other end reads. */
  static async connectUnix(): Promise<Pair> {
    const directory = await Deno.makeTempDir();
    try {
      return await Pair.#connect({ transport: "unix", path: `${directory}/socket` });
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }

  static async #connect(at: SocketAddress): Promise<Pair> {
    using listener = await Listener.listen(at);
    const here = await Socket.connect(listener.address);
    return new Pair(here, await listener.accept());
  }

  /** Waits until something has come here. */
  awaitInput(): void {
    const poll = new PollSet(1);
    poll.watch(0, this.here.fd, PollEvents.IN);
    if (poll.wait(20_000) === 0) throw new Error("Nothing came within 20 s");
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
