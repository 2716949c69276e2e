/** The file that an image is until it is complete. */

import { Errno, SyscallError } from "../ffi/errno.ts";
import { fileExists, OutputFile, removeFile } from "../ffi/file.ts";
import { ImageError } from "./image_error.ts";
import { type PartialImage, readPartialImage } from "./mapped_ram/partial_image.ts";
import { isPartialName, PARTIAL_NAME } from "./partial_name.ts";

/** Attempts at a name that nobody has: as many receivers of one image may run in one process. */
const MOST_NAMES = 100;

/** A file by its names, now and when it is complete. */
export interface PartialFileNames {
  /** Its descriptor. */
  readonly fileFd: number;
  /** Its name until it is complete. */
  readonly partialPath: string;
  /** Its name then. */
  readonly path: string;
  /** Directory of both. */
  readonly directory: string;
}

/**
 * A file beside the image, on the same file system, so that giving it the image's name copies nothing. It is
 * new, or one that another receiver left; as long as it is open, nobody takes it up.
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
   * Makes the file, or takes it up.
   *
   * @param imagePath the image's name
   * @param overwrite whether an image of that name may be replaced
   * @param left the name of the file that another receiver left; absent for a new one
   * @throws {SyscallError} `EEXIST` when it may not and is there; `EACCES`, `ENOENT`, ...
   * @throws {ImageError} when another still writes the file that is to be taken up, or it is elsewhere
   */
  constructor(imagePath: string, overwrite: boolean, left?: string) {
    this.imagePath = imagePath;
    this.overwrite = overwrite;
    this.directory = imagePath.slice(0, imagePath.lastIndexOf("/") + 1) || ".";
    if (!overwrite && fileExists(imagePath)) throw imageExists(imagePath);
    if (fileExists(`${imagePath}/.`)) throw new SyscallError("open", Errno.EISDIR, imagePath);
    this.#file = left === undefined ? createBeside(imagePath) : takeUp(left, this.directory);
  }

  /** Its name. */
  get path(): string {
    return this.#file.path;
  }

  /** Its descriptor, for the task that writes it. */
  get fd(): number {
    return this.#file.fd;
  }

  /** What the task that writes it is told of it. */
  get names(): PartialFileNames {
    const { fd: fileFd, path: partialPath, imagePath: path, directory } = this;
    return { fileFd, partialPath, path, directory };
  }

  /** What it holds, where another receiver left it; see {@linkcode readPartialImage}. */
  contents(): PartialImage {
    return readPartialImage(this.#file);
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

/** The image's name that a partial file's tells; undefined when that is not one that was given here. */
export function imageNameOf(left: string): string | undefined {
  return isPartialName(left) ? left.replace(PARTIAL_NAME, "") : undefined;
}

/** The error for an image that is there already. */
export function imageExists(path: string): SyscallError {
  const remedy = "choose another name, or allow it to be overwritten (--overwrite)";
  return new SyscallError("open", Errno.EEXIST, path, remedy);
}

function createBeside(imagePath: string): OutputFile {
  for (let attempt = 1;; attempt++) {
    const path = `${imagePath}.partial-${Deno.pid}${attempt === 1 ? "" : `-${attempt}`}`;
    try {
      const file = OutputFile.create(path);
      file.lock(); // where a file system has no locks, nobody finds one either
      return file;
    } catch (error) {
      const taken = error instanceof SyscallError && error.errno === Errno.EEXIST;
      if (!taken || attempt === MOST_NAMES) throw error;
    }
  }
}

function takeUp(left: string, directory: string): OutputFile {
  const file = OutputFile.open(left);
  try {
    if (Deno.statSync(left).dev !== Deno.statSync(directory).dev) {
      const problem = `Partial image on another file system than ${directory}`;
      throw new ImageError("unsupported", left, problem, "choose a name for the image beside it");
    }
    const code = file.lock();
    if (code === Errno.EAGAIN) {
      throw new ImageError(
        "unsupported",
        left,
        "Partial image that a receive is still writing",
        "let the source resume there (migrate -d -r), or end that receive first: the file stays, and so " +
          "does the guest",
      );
    }
    if (code !== 0) {
      const remedy = "copy the file to a file system that has locks, and take it up there";
      throw new SyscallError("flock", code, left, remedy);
    }
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}
