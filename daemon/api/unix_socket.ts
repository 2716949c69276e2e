/** A unix socket that whoever started the daemon may use, and a group if it is said. */

import { DaemonError } from "../service/daemon_error.ts";

/** A bound socket. */
export interface BoundSocket {
  readonly server: Deno.HttpServer;
  /** Removes its file. */
  readonly remove: () => void;
}

/** Where, and for whom. */
export interface UnixSocketOptions {
  /** Of the socket; its directory is made when it is not there. */
  readonly path: string;
  /** By name or number, that may use it too. */
  readonly group: string | undefined;
  /** Cuts all connections. */
  readonly signal: AbortSignal;
  /** Answers for a handler that failed. */
  readonly onError: (error: unknown) => Response;
}

/**
 * Serves HTTP at a unix socket. One that a dead daemon left is replaced.
 *
 * @param options where, and for whom
 * @param handler answers
 * @throws {DaemonError} when something answers there, or is there that is no socket
 */
export async function bindUnix(
  { path, group, signal, onError }: UnixSocketOptions,
  handler: Deno.ServeHandler<Deno.UnixAddr>,
): Promise<BoundSocket> {
  const gid = group === undefined ? undefined : await groupNumber(group);
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")) || "/", { recursive: true });
  await removeStale(path);
  // From its first moment nobody else may connect. The umask is the process's: nothing is awaited meanwhile.
  const before = Deno.umask(0o177);
  let server: Deno.HttpServer;
  try {
    server = Deno.serve({ path, signal, onListen: () => {}, onError }, handler);
  } finally {
    Deno.umask(before);
  }
  const { ino, dev } = await Deno.lstat(path);
  if (gid !== undefined) {
    await Deno.chown(path, null, gid);
    await Deno.chmod(path, 0o660);
  }
  return {
    server,
    remove: () => {
      try {
        const found = Deno.lstatSync(path);
        if (found.ino === ino && found.dev === dev) Deno.removeSync(path);
      } catch {
        // It is gone, or another's.
      }
    },
  };
}

/** Removes a socket at which nobody answers. */
async function removeStale(path: string): Promise<void> {
  let isSocket: boolean | null;
  try {
    ({ isSocket } = await Deno.lstat(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (isSocket !== true) {
    throw new DaemonError(`No socket, and not replaced: ${path}: name another with api.socket`);
  }
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
    return await Deno.remove(path);
  }
  throw new DaemonError(
    `A daemon answers there already: ${path}: use that one, or name another socket with api.socket`,
  );
}

/**
 * The number of a group.
 *
 * @param group its name or number
 * @throws {DaemonError} when there is none of that name
 */
export async function groupNumber(group: string): Promise<number> {
  if (/^\d+$/.test(group)) return Number(group);
  const text = await Deno.readTextFile("/etc/group");
  const line = text.split("\n").find((each) => each.startsWith(`${group}:`));
  const [, , number] = line?.split(":") ?? [];
  if (number !== undefined) return Number(number);
  throw new DaemonError(
    `No such group: ${group}: make it (groupadd --system ${group}), or give its number`,
  );
}
