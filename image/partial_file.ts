/** The file that an image is until it is complete. */

import { Errno, SyscallError } from "../ffi/errno.ts";
import { fileExists, OutputFile, removeFile } from "../ffi/file.ts";

/** Attempts at a name that nobody has: as many receivers of one image may run in one process. */
const MOST_NAMES = 100;

/**
 * A new file beside the image, on the same file system, so that giving it the image's name copies
 * nothing.
 */
export class PartialFile implements Disposable {
  /** The image's name. */
  readonly imagePath: string;
  /** The directory of both. */
  readonly directory: string;
  /** Whether an image of that name may be replaced. */
  readonly overwrite: boolean;
  readonly #file: OutputFile;

  /**
   * Makes the file.
   *
   * @param imagePath the image's name
   * @param overwrite whether an image of that name may be replaced
   * @throws {SyscallError} `EEXIST` when it may not and is there; `EACCES`, `ENOENT`, ...
   */
  constructor(imagePath: string, overwrite: boolean) {
    this.imagePath = imagePath;
    this.overwrite = overwrite;
    this.directory = imagePath.slice(0, imagePath.lastIndexOf("/") + 1) || ".";
    if (!overwrite && fileExists(imagePath)) throw imageExists(imagePath);
    if (fileExists(`${imagePath}/.`)) throw new SyscallError("open", Errno.EISDIR, imagePath);
    this.#file = createBeside(imagePath);
  }

  /** Its name. */
  get path(): string {
    return this.#file.path;
  }

  /** Its descriptor, for the task that writes it. */
  get fd(): number {
    return this.#file.fd;
  }

  /** Removes it: the source has all of the machine. */
  remove(): void {
    removeFile(this.path);
  }

  /** Closes it. Closing again does nothing. */
  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The error for an image that is there already. */
function imageExists(path: string): SyscallError {
  const remedy = "choose another name, or allow it to be overwritten (--overwrite)";
  return new SyscallError("open", Errno.EEXIST, path, remedy);
}

function createBeside(imagePath: string): OutputFile {
  for (let attempt = 1;; attempt++) {
    const path = `${imagePath}.partial-${Deno.pid}${attempt === 1 ? "" : `-${attempt}`}`;
    try {
      return OutputFile.create(path);
    } catch (error) {
      const taken = error instanceof SyscallError && error.errno === Errno.EEXIST;
      if (!taken || attempt === MOST_NAMES) throw error;
    }
  }
}
