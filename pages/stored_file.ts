/** A file that pages lie in: whether it is what it was when it was opened. */

import { errnoName } from "../ffi/errno.ts";
import { FileStatus } from "../ffi/file_status.ts";
import { MappedFile } from "../ffi/mapped_file.ts";
import type { MappedMemory } from "../ffi/memory.ts";
import { MigrationError } from "../migration/migration_error.ts";

/** An open file of pages. Plain data, for `postMessage`; valid until its image is closed. */
export interface StoredFile {
  /** Its name, for errors. */
  readonly path: string;
  /** Its descriptor. */
  readonly fd: number;
  /** Bytes when it was opened. */
  readonly size: number;
  /** Whole seconds since 1970 of its last modification then. */
  readonly seconds: number;
  /** Nanoseconds of that second. */
  readonly nanoseconds: number;
  /** What to do when it cannot be read. */
  readonly remedy: string;
}

const IMAGE_REMEDY =
  "see what the kernel says of its disk or server (dmesg), and make it readable again";

/**
 * Describes the file behind a mapping as it was when it was opened.
 *
 * @param memory a file, or the same in memory of this process
 * @param remedy what to do when it cannot be read
 * @returns undefined for memory, which nobody else changes
 */
export function storedFile(
  memory: MappedMemory,
  remedy: string = IMAGE_REMEDY,
): StoredFile | undefined {
  if (!(memory instanceof MappedFile)) return undefined;
  const { path, fd, opened: { size, seconds, nanoseconds } } = memory;
  return { path, fd, size, seconds, nanoseconds, remedy };
}

/**
 * Sees that an image's file is as it was when it was opened, by its size and time of modification: whoever
 * writes to a file or cuts it has set that time before the first byte changes. Not by the time of the
 * inode's last change, which comes with a new name, a removed one and other permissions too: the bytes
 * are the same then. So a file that was put back with its time counts as what it was.
 */
export class FileWatch {
  readonly #file: StoredFile | undefined;
  readonly #status = new FileStatus();

  /** @param file undefined when the pages lie in memory, which nobody changes */
  constructor(file: StoredFile | undefined) {
    this.#file = file;
  }

  /**
   * Looks at it, which takes 0.5 us.
   *
   * @throws {MigrationError} `IMAGE_CHANGED` or `IMAGE_UNREADABLE`
   */
  check(): void {
    const file = this.#file;
    if (file === undefined) return;
    const status = this.#status;
    const code = status.look(file.fd);
    if (code !== 0) throw unreadable(file, errnoName(code));
    const same = status.size === file.size && status.seconds === file.seconds &&
      status.nanoseconds === file.nanoseconds;
    if (!same) throw changed(file, status);
  }
}

/** The error for a file that is not what it was. */
function changed({ path, size, seconds }: StoredFile, now: FileStatus): MigrationError {
  const how = now.size === size
    ? `last written ${timeOf(now.seconds)}, not ${timeOf(seconds)} any more`
    : `${now.size} bytes, not ${size} any more`;
  return new MigrationError(
    "IMAGE_CHANGED",
    `Image was changed after it was opened: ${path}: ${how}: stop what writes to it, and put the file ` +
      "back in place as it was, with its time (cp --preserve=timestamps)",
  );
}

/**
 * The error for a file that cannot be read.
 *
 * @param how the error's name, and where if that is known
 */
export function unreadable({ path, remedy }: StoredFile, how: string): MigrationError {
  return new MigrationError("IMAGE_UNREADABLE", `Cannot read a page: ${path}: ${how}: ${remedy}`);
}

function timeOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
