/** That one daemon has a state directory at a time: two would go on for the same guests. */

import { Errno, errnoName, SyscallError } from "../../ffi/errno.ts";
import { OutputFile } from "../../ffi/file.ts";
import { DaemonError } from "../service/daemon_error.ts";

const MODE = 0o700;

/**
 * Locks a state directory until it is disposed of, or this process ends, however that comes.
 *
 * @param directory which is made when it is not there
 * @throws {DaemonError} when another daemon has it, or it cannot be written to
 */
export function lockState(directory: string): Disposable {
  const path = `${directory}/lock`;
  let lock: OutputFile;
  try {
    Deno.mkdirSync(directory, { recursive: true, mode: MODE });
    lock = openLock(path);
  } catch (cause) {
    throw new DaemonError(
      `State directory cannot be written to: ${directory}: ${
        (cause as Error).message
      }: give it to this user ` +
        "(systemd: StateDirectory=postcopy), or name another as stateDirectory",
      { cause },
    );
  }
  const code = lock.lock();
  if (code === 0) return lock;
  lock.close();
  throw new DaemonError(
    code === Errno.EAGAIN
      ? `State directory is another daemon's: ${directory}: end that one first, or give this one a ` +
        "stateDirectory of its own"
      : `State directory cannot be locked: ${directory}: ${
        errnoName(code)
      }: use one on a local disk`,
  );
}

function openLock(path: string): OutputFile {
  try {
    return OutputFile.create(path);
  } catch (error) {
    if (!(error instanceof SyscallError) || error.errno !== Errno.EEXIST) throw error;
    return OutputFile.open(path);
  }
}
