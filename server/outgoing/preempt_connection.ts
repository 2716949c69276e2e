/** The preempt channel, seen from the source's control plane. */

import { SyscallError } from "../../ffi/errno.ts";
import { Socket, type WaitOptions } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { MigrationError } from "../../migration/migration_error.ts";

/** A preempt channel that is open, and watched for its end. */
export class PreemptConnection implements Disposable {
  readonly #socket: Socket;
  #lost = false;
  #watched: Promise<void> = Promise.resolve();

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /**
   * Connects.
   *
   * @throws {MigrationError} when the destination does not take it
   */
  static async connect(to: SocketAddress, wait: WaitOptions): Promise<PreemptConnection> {
    try {
      return new PreemptConnection(await Socket.connect(to, wait));
    } catch (cause) {
      if (!(cause instanceof SyscallError) && !isTimeout(cause)) throw cause;
      const how = cause instanceof SyscallError ? cause.code : cause.message;
      throw new MigrationError(
        "CONNECTION_LOST",
        `Destination does not take the preempt channel: ${how}: it is gone, or postcopy-preempt is ` +
          "off there: turn it on, or use the mode vanilla",
        { cause },
      );
    }
  }

  /** The socket. */
  get fd(): number {
    return this.#socket.fd;
  }

  /** True when the destination has closed it too early. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Settles when it is watched no more. */
  get watched(): Promise<void> {
    return this.#watched;
  }

  /**
   * Watches for a destination that closes the channel: one without postcopy-preempt takes it and closes
   * it unread. A page sent there is lost, and the destination would wait for it for ever.
   *
   * @param signal ends the watching
   * @param mayClose says whether the destination may close it by now
   * @param onLost is called when it closed it too early
   */
  watch(signal: AbortSignal, mayClose: () => boolean, onLost: () => Promise<void>): void {
    this.#watched = this.#socket.closedByPeer({ signal }).then(
      async () => {
        // At once: whoever looks at the end of the migration may do so before anything else is done here.
        this.#lost = !mayClose();
        if (this.#lost) await onLost();
      },
      () => {}, // the migration has ended
    );
  }

  /** Closes it. */
  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The error for a preempt channel that the destination has closed. */
export function preemptClosed(): MigrationError {
  return new MigrationError("PEER_FAILED", "Destination closed the preempt channel");
}

/** Reports whether a wait was given up. */
export function isTimeout(error: unknown): error is DOMException {
  return error instanceof DOMException && error.name === "TimeoutError";
}
