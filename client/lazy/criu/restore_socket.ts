/** CRIU's connection: what it says, and the userfaultfds that come with it. */

import { DescriptorReceiver } from "../../../ffi/descriptor_passing.ts";
import { Errno, errnoName } from "../../../ffi/errno.ts";
import { closeSocket } from "../../../ffi/socket_calls.ts";
import { RestoreDecoder, type RestoreHandler, wholeMessages } from "./restore_messages.ts";

const RECEIVE_BYTES = 4096;

/** What was found at a look. */
export type RestoreLook =
  /** No more has come. */
  | "empty"
  /** A message has begun whose end has not come. */
  | "part"
  /** The connection has ended, or broke. */
  | { readonly ended: string };

/**
 * A message leaves the connection when it is whole and its handler has done with it: what a server that is killed has
 * not kept is still there for the next one, if anybody keeps the connection open.
 */
export class RestoreSocket implements Disposable {
  readonly fd: number;
  readonly #bytes = new Uint8Array(RECEIVE_BYTES);
  readonly #receiver = new DescriptorReceiver(this.#bytes);
  readonly #decoder: RestoreDecoder;

  /** @param fd the connection, which is this object's from here on */
  constructor(fd: number, handler: RestoreHandler) {
    this.fd = fd;
    this.#decoder = new RestoreDecoder(handler);
  }

  /** Takes the descriptor of the process that was told of last; undefined when there is none. */
  takeDescriptor(): number | undefined {
    return this.#receiver.descriptors.shift();
  }

  /** True when a descriptor came that this process could not take. */
  get lost(): boolean {
    return this.#receiver.lost;
  }

  /**
   * Hears all that has come.
   *
   * @param hungUp whether no more can come: then a part is all there is
   * @throws {MigrationError} `BAD_PEER` for what CRIU does not say, or what the handler throws
   */
  hear(hungUp: boolean): RestoreLook {
    while (true) {
      const count = this.#receiver.peek(this.fd);
      if (count === -Errno.EINTR) continue;
      if (count === -Errno.EAGAIN) return "empty";
      if (count <= 0) return { ended: count === 0 ? "it left" : errnoName(-count) };
      const whole = wholeMessages(this.#bytes, count) || (hungUp ? count : 0);
      if (whole > 0) this.#decoder.take(this.#bytes.subarray(0, whole));
      this.#receiver.closeAll();
      if (whole === 0) return "part";
      this.#receiver.drop(this.fd, whole);
    }
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.#receiver.closeAll();
    closeSocket(this.fd);
  }
}
