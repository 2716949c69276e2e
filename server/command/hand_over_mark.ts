/** Marks beside an image: where its guest was handed over to, until the destination has all of it. */

import { syncDirectory } from "../../ffi/file.ts";
import {
  AddressFamily,
  formatSocketAddress,
  resolveSocketAddresses,
  type SocketAddress,
} from "../../ffi/socket_address.ts";
import { whyNotKept } from "../../image/capture/index_storage.ts";

/** What a mark's name has behind the image's; a few characters follow that no other mark has. */
const SUFFIX = ".postcopy-handover-";
/** Whoever may look for a guest may read where it is: nothing of its memory is in it. */
const MODE = 0o644;

/** What a mark says: from its time on the guest may run there. */
export interface HandOver {
  /** The destination as it was told. */
  readonly to: string;
  /** The same in the forms of {@linkcode placesOf}, and all others where the guest was reached. */
  readonly places: readonly string[];
  /** Which guest, see `guestOf`. */
  readonly guest: string;
  /** When, in ISO 8601. */
  readonly since: string;
  /** The number of the process that serves. */
  readonly process: number;
  /** The daemon's session, when a daemon serves; absent for a command. */
  readonly session?: string;
}

/** A mark that was found. */
export interface FoundHandOver extends HandOver {
  /** Its file. */
  readonly path: string;
  /** Whether the process that made it still runs; undefined where a file system has no locks to tell. */
  readonly live: boolean | undefined;
}

/**
 * All forms of an address by which two can be compared: however a host is written, its numeric addresses
 * are among them. A form is what stands for the host, a space, and the port; of a socket's file `unix` and
 * its path.
 */
export async function placesOf(to: SocketAddress): Promise<readonly string[]> {
  if (to.transport === "unix") {
    const path = to.path.startsWith("/") ? to.path : `${Deno.cwd()}/${to.path}`;
    const real = await Deno.realPath(path).catch(() => path);
    return [...new Set([path, real])].map((path) => `unix ${path}`);
  }
  const loopback = { "0.0.0.0": "127.0.0.1", "::": "::1" }[to.host]; // what the kernel connects to
  const host = loopback ?? to.host;
  // One that cannot be resolved is told by whoever connects.
  const found = await resolveSocketAddresses({ ...to, host }).catch(() => []);
  const numbers = found.map(({ family, bytes }) =>
    (family === AddressFamily.INET ? bytes.subarray(4, 8) : bytes.subarray(8, 28)).toHex()
  );
  return [host, ...numbers].map((host) => `${host} ${to.port}`);
}

/** Whether two places are of one host. */
export function sameHost(one: string, other: string): boolean {
  return one.slice(0, one.indexOf(" ")) === other.slice(0, other.indexOf(" "));
}

/** A mark of this process; it stays when the process ends without having removed it. */
export class HandOverMark {
  /** Its file. */
  readonly path: string;
  /** Locked as long as it is open: so others see that this process runs. */
  readonly #file: Deno.FsFile;

  private constructor(path: string, file: Deno.FsFile) {
    this.path = path;
    this.#file = file;
  }

  /**
   * Makes a mark; it is on the disk then.
   *
   * @param image the image's name
   * @param to where its guest is handed over to
   * @param places the forms of the address
   * @param guest which guest it is
   * @param session of the daemon that serves it; undefined for a command
   * @returns the mark, or why there is none
   */
  static async make(
    image: string,
    to: SocketAddress,
    places: readonly string[],
    guest: string,
    session?: string,
  ): Promise<HandOverMark | string> {
    let path = image;
    try {
      path = `${await Deno.realPath(image)}${SUFFIX}${crypto.randomUUID().slice(0, 8)}`;
      const directory = directoryOf(path);
      // Nobody is to be asked for a permission now: the destination waits.
      if (Deno.permissions.querySync({ name: "write", path: directory }).state !== "granted") {
        throw new Error(`it takes --allow-write=${directory}`);
      }
      const file = await Deno.open(path, { write: true, createNew: true, mode: MODE });
      const mark = new HandOverMark(path, file);
      try {
        await file.lock(true).catch(() => {}); // where a file system has no locks, nobody finds one either
        await mark.#write({
          to: formatSocketAddress(to),
          places,
          guest,
          since: new Date().toISOString(),
          process: Deno.pid,
          ...session === undefined ? {} : { session },
        });
        syncDirectory(directory);
        return mark;
      } catch (error) {
        await mark.remove().catch(() => {});
        throw error;
      }
    } catch (error) {
      return whyNotKept(error, path, path);
    }
  }

  /**
   * Removes it.
   *
   * @throws what `Deno.remove` does
   */
  async remove(): Promise<void> {
    this.close();
    await removeMark(this.path);
  }

  /** Leaves it where it is. Closing again does nothing. */
  close(): void {
    try {
      this.#file.close();
    } catch {
      // It is closed.
    }
  }

  async #write(contents: HandOver): Promise<void> {
    const { session } = contents;
    const see = session === undefined
      ? "postcopy serve --recover"
      : `postcopy status ${session}, and postcopy recover ${session}`;
    const note = `The guest of this image may run at the destination: see ${see}`;
    const text = `${JSON.stringify({ note, ...contents }, null, 2)}\n`;
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += await this.#file.write(bytes.subarray(at));
    await this.#file.syncData();
  }
}

/**
 * Removes a mark; one that is not there is no error.
 *
 * @throws what `Deno.remove` does
 */
export async function removeMark(path: string): Promise<void> {
  try {
    await Deno.remove(path);
    syncDirectory(directoryOf(path));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/**
 * Finds the marks of an image, the oldest first.
 *
 * @throws when the directory, or one of them, cannot be read
 */
export async function findHandOvers(image: string): Promise<readonly FoundHandOver[]> {
  const real = await Deno.realPath(image);
  const directory = directoryOf(real);
  const start = `${real.slice(directory.length)}${SUFFIX}`;
  const found: FoundHandOver[] = [];
  for await (const { name } of Deno.readDir(directory)) {
    const mark = name.startsWith(start) ? await readMark(`${directory}${name}`) : undefined;
    if (mark !== undefined) found.push(mark);
  }
  return found.sort((one, other) => one.since < other.since ? -1 : 1);
}

/** Reads a mark; undefined for one that is gone, or that never was whole: then no guest ran either. */
async function readMark(path: string): Promise<FoundHandOver | undefined> {
  try {
    using file = await Deno.open(path);
    const live = await file.tryLock(false).then((mine) => !mine, () => undefined);
    const contents = JSON.parse(await Deno.readTextFile(path)) as HandOver;
    return isHandOver(contents) ? { ...contents, path, live } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function isHandOver(contents: HandOver): boolean {
  const { to, guest, since, process, places, session = "" } = contents;
  return typeof process === "number" && Array.isArray(places) &&
    [to, guest, since, session, ...places].every((text) => typeof text === "string");
}

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}
