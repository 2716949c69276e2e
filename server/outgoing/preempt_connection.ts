/** The preempt channel, seen from the source's control plane. */

import { SyscallError } from "../../ffi/errno.ts";
import type { Socket } from "../../ffi/socket.ts";
import { connectionBroken, isSilence, TO_DESTINATION } from "../../channel/role.ts";
import { isLost, isTlsFailure, MigrationError } from "../../migration/migration_error.ts";

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
   * @param connect makes the connection
   * @param signal ends the link, and the attempt with it
   * @throws {MigrationError} when the destination does not take it
   */
  static async connect(
    connect: () => Promise<Socket>,
    signal: AbortSignal,
  ): Promise<PreemptConnection> {
    try {
      return new PreemptConnection(await connect());
    } catch (cause) {
      signal.throwIfAborted(); // whatever ended the link comes first
      const refused = cause instanceof SyscallError || isTimeout(cause) || isLost(cause) ||
        isTlsFailure(cause);
      if (!refused) throw cause;
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

  /** True when the destination has closed it by now. */
  get closed(): boolean {
    return this.#socket.hasEnded();
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
  watch(
    signal: AbortSignal,
    mayClose: () => boolean,
    onLost: (error: MigrationError) => Promise<void>,
  ): void {
    this.#watched = this.#socket.closedByPeer({ signal }).then(
      async (code) => {
        // At once: whoever looks at the end of the migration may do so before anything else is done here.
        this.#lost = !mayClose();
        if (this.#lost) await onLost(preemptClosed(code));
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

/**
 * The error for a preempt channel that the destination has closed.
 *
 * @param code the errno with which it broke; 0 when it was closed
 */
export function preemptClosed(code = 0): MigrationError {
  if (isSilence(code)) return connectionBroken(TO_DESTINATION.PREEMPT, code);
  return new MigrationError(
    "PEER_FAILED",
    "Destination closed the preempt channel: if postcopy-preempt is off there, use the mode vanilla",
  );
}

/** The error for a preempt channel that the destination has closed although nothing was sent there yet. */
export function preemptOff(): MigrationError {
  return new MigrationError(
    "PEER_FAILED",
    "Destination closed the preempt channel: postcopy-preempt is off there: turn it on, or use the mode " +
      "vanilla",
  );
}

/** Reports whether a wait was given up. */
export function isTimeout(error: unknown): error is DOMException {
  return error instanceof DOMException && error.name === "TimeoutError";
}
