/** Unix sockets between this program and a QEMU of the same host, which nobody else reaches. */

import { MonitorError } from "./monitor_error.ts";

/** What a directory is called: what a restore that was killed leaves is known by it. */
const PREFIX = "postcopy-";
/** The same, with what `Deno.makeTempDir` puts behind. */
const OWN = /^postcopy-[0-9a-f]+$/;

/** Bytes of a unix socket's path, which ends with a zero byte (unix(7)). */
const MOST_PATH_BYTES = 107;

/** A socket's file under both its names. */
export interface PrivateSocket {
  /** For this process. */
  readonly ours: string;
  /** For QEMU. */
  readonly theirs: string;
}

/**
 * A directory beside QEMU's monitor, which both can reach; QEMU may see it under another name, when its root
 * directory is another.
 */
export class PrivateSockets implements Disposable {
  readonly #ours: string;
  readonly #theirs: string;
  #count = 0;
  #kept = false;

  private constructor(ours: string, theirs: string) {
    this.#ours = ours;
    this.#theirs = theirs;
  }

  /**
   * Makes the directory, for this user and that of QEMU.
   *
   * @param monitor path of QEMU's monitor
   * @param theirs path of the monitor as QEMU has it
   * @throws {MonitorError} `UNFIT` when nothing can be made there
   */
  static async make(monitor: string, theirs: string): Promise<PrivateSockets> {
    const directory = directoryOf(await Deno.realPath(monitor));
    try {
      const ours = await Deno.makeTempDir({ dir: directory, prefix: PREFIX });
      const sockets = new PrivateSockets(
        ours,
        `${directoryOf(theirs)}${ours.slice(directory.length)}`,
      );
      using stack = new DisposableStack();
      stack.use(sockets);
      if (new TextEncoder().encode(sockets.next().ours).length > MOST_PATH_BYTES) {
        throw new Error("its path is too long");
      }
      await giveTo(ours, monitor); // QEMU may run as another user, whose its monitor is then
      stack.move();
      return sockets;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error; // names the missing flag
      throw new MonitorError(
        "UNFIT",
        `No socket can be made beside QEMU's monitor, in ${directory}: ${
          (error as Error).message
        }: nothing ` +
          "was changed there: name an address by --listen-uri (save: --listen)",
        { cause: error },
      );
    }
  }

  /** Takes over the directory of a socket that was made so; undefined for any other. */
  static of({ ours, theirs }: PrivateSocket): PrivateSockets | undefined {
    const directory = directoryOf(ours).slice(0, -1);
    if (!OWN.test(directory.slice(directory.lastIndexOf("/") + 1))) return undefined;
    return new PrivateSockets(directory, directoryOf(theirs).slice(0, -1));
  }

  /** A name that nothing has. */
  next(): PrivateSocket {
    const name = `${this.#count++}-${crypto.randomUUID().slice(0, 4)}`;
    return { ours: `${this.#ours}/${name}`, theirs: `${this.#theirs}/${name}` };
  }

  /** Gives a socket that was made here to QEMU's user. */
  async share({ ours }: PrivateSocket): Promise<void> {
    await giveTo(ours, this.#ours);
  }

  /** Leaves it where it is: QEMU still listens there. */
  keep(): void {
    this.#kept = true;
  }

  /** Removes it. */
  [Symbol.dispose](): void {
    if (this.#kept) return;
    try {
      Deno.removeSync(this.#ours, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** Gives a file to the user of another; only root can, and need. */
async function giveTo(path: string, other: string): Promise<void> {
  const [{ uid, gid }, { uid: mine }] = await Promise.all([Deno.stat(other), Deno.stat(path)]);
  if (uid !== null && uid !== mine) await Deno.chown(path, uid, gid);
}

/** Path of the directory in which a path lies, with the slash. */
function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}
