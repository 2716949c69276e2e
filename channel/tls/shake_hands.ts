/** Shaking hands, seen from the control plane: on a pool's thread, for so long at most. */

import { Eventfd } from "../../ffi/eventfd.ts";
import type { WaitOptions } from "../../ffi/wait_ready.ts";
import type { TlsHandshakeInit } from "../../ffi/tls/session.ts";
import { TlsError, type TlsErrorCode } from "../../ffi/tls/tls_error.ts";
import { MigrationError, reviveMigrationError } from "../../migration/migration_error.ts";
import { WorkerThreadError } from "../../migration/threads/failure.ts";
import type { TaskKind, ThreadPool } from "../../migration/threads/thread_pool.ts";
import type { HandshakeTaskInit, Shaken } from "./handshake_task.ts";

export type { Shaken } from "./handshake_task.ts";

const HANDSHAKE: TaskKind<HandshakeTaskInit, Shaken> = {
  thread: new URL("./handshake_worker.ts", import.meta.url),
  name: "handshake",
  urgent: false,
};

/**
 * Connects, and shakes hands at once: a thread is ready before, so that nobody is connected to without a
 * word. It holds up everything else at a QEMU that listens.
 *
 * @param pool whose thread makes the handshake
 * @param connect makes the connection and the session on it; both stay the caller's, who does not free them
 * before this has settled
 * @param options how long the handshake may take, without the connection, and what ends it before
 * @throws {TlsError} when the other end is not who it should be, or does not take this one
 * @throws {MigrationError} when the connection broke, or a thread of this program did
 * @throws {DOMException} `TimeoutError` when it does not answer in time
 * @throws the signal's reason; what `connect` throws
 */
export async function shakeHands(
  pool: ThreadPool,
  connect: () => TlsHandshakeInit | Promise<TlsHandshakeInit>,
  { signal, timeout }: WaitOptions = {},
): Promise<Shaken> {
  signal?.throwIfAborted();
  let shaken: Shaken | undefined;
  using wake = new Eventfd();
  const task = pool.task(HANDSHAKE, (message) => shaken = message);
  const given = Promise.withResolvers<never>();
  given.promise.catch(() => {}); // nobody may wait for it
  const onAbort = () => given.reject(signal!.reason);
  signal?.addEventListener("abort", onAbort);
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await Promise.race([task.prepare(), given.promise]);
    const session = await connect();
    signal?.throwIfAborted();
    if (timeout !== undefined) {
      timer = setTimeout(() => given.reject(noAnswer(session.peer, timeout)), timeout);
    }
    task.run({ session, wakeFd: wake.fd });
    await Promise.race([task.ended, given.promise]);
  } catch (error) {
    throw reviveTlsError(error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    wake.signal();
    await task.join(); // only then may the session be freed
  }
  return shaken!;
}

/**
 * Starts a thread for a handshake that follows soon, while others start: a pool keeps it for as long as its
 * threads linger.
 */
export async function prepareHandshake(pool: ThreadPool): Promise<void> {
  const task = pool.task(HANDSHAKE);
  try {
    await task.prepare();
  } finally {
    await task.join();
  }
}

/** Makes the TlsError that ended a task one again: it crossed as plain data. Others become a MigrationError. */
export function reviveTlsError(error: unknown): unknown {
  if (!(error instanceof WorkerThreadError)) return error;
  if (error.name === "TlsError") {
    return new TlsError(error.code as TlsErrorCode, error.message, { cause: error });
  }
  if (error.name !== "SyscallError") return reviveMigrationError(error);
  return new MigrationError("CONNECTION_LOST", error.message, { cause: error });
}

function noAnswer(peer: string, timeout: number): DOMException {
  return new DOMException(
    `No TLS handshake within ${
      timeout / 1000
    } s: ${peer}: see that it still runs, and has TLS credentials ` +
      "too (QEMU: the migration parameter tls-creds)",
    "TimeoutError",
  );
}
