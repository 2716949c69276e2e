/** Whether a file is still what it was. */

import { ImageError } from "./image_error.ts";

/** What changes when a file is replaced or written to. */
export interface FileStamp {
  /** Bytes. */
  readonly size: number;
  /** Last modification, in milliseconds since 1970. */
  readonly modified: number;
  /** Inode. */
  readonly inode: number | null;
}

/** Takes a file's stamp; rejects as `Deno.stat` does. */
export async function stampFile(path: string): Promise<FileStamp> {
  const { size, mtime, ino } = await Deno.stat(path);
  return { size, modified: mtime?.getTime() ?? 0, inode: ino };
}

/** Permissions of a file that tells of an image's memory: who may read the image may read it, and nobody else. */
export async function readersOf(path: string): Promise<number> {
  return ((await Deno.stat(path)).mode ?? 0o600) & 0o666;
}

/** Whether two stamps are of one state of one file. */
export function sameStamp(one: FileStamp, other: FileStamp): boolean {
  return one.size === other.size && one.modified === other.modified && one.inode === other.inode;
}

/**
 * Takes the stamp of an image.
 *
 * @throws {ImageError} when there is no such regular file, or it may not be read
 */
export async function stampImage(path: string): Promise<FileStamp> {
  try {
    const { isFile } = await Deno.stat(path);
    if (isFile) return await stampFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) {
      throw new ImageError("not-found", path, "No such image", "check the name", { cause });
    }
    throw cause;
  }
  throw new ImageError(
    "not-an-image",
    path,
    "Image that is no regular file",
    "copy the stream into a file first",
  );
}

/**
 * Sees that an image has not changed since its stamp was taken.
 *
 * @throws {ImageError} when it has
 */
export async function requireUnchanged(path: string, stamp: FileStamp): Promise<void> {
  if (sameStamp(stamp, await stampImage(path))) return;
  throw new ImageError(
    "changed",
    path,
    "Image that changed while it was opened",
    "wait for the migration that writes it, then open it again",
  );
}
