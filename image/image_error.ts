import { Errno, SyscallError } from "../ffi/errno.ts";
import { MigrationError } from "../migration/migration_error.ts";

/** What kind of thing was wrong with an image; stable, for programs. */
export type ImageErrorCode =
  | "not-found"
  | "not-an-image"
  | "truncated"
  | "malformed"
  | "unsupported"
  | "bad-description"
  | "changed"
  | "unreadable"
  | "closed";

/** A file that cannot be served. The file itself is as it was: images are only read. */
export class ImageError extends Error {
  /** The class's name. */
  override readonly name = "ImageError";
  /** Machine-readable kind. */
  readonly code: ImageErrorCode;
  /** The image's file name. */
  readonly path: string;
  /** Where in the file it was found, in bytes; absent where no place can be named. */
  readonly offset: number | undefined;

  /**
   * Makes the error.
   *
   * @param code kind of the error
   * @param path the image's file name
   * @param problem what is wrong and with which value, capitalised
   * @param remedy what the user can do about it
   * @param options the offset in the file in bytes, and the cause
   */
  constructor(
    code: ImageErrorCode,
    path: string,
    problem: string,
    remedy: string,
    options: ErrorOptions & { readonly offset?: number } = {},
  ) {
    const place = options.offset === undefined ? "" : ` at byte ${options.offset}`;
    super(`${problem}${place}: ${path}: ${remedy}`, options);
    this.code = code;
    this.path = path;
    this.offset = options.offset;
  }
}

/** What to do about bytes that should not be there. */
export const DAMAGED_REMEDY =
  "the file is damaged or was not written by QEMU: capture the machine again";

/** What to do about bytes that should be there. */
export const TRUNCATED_REMEDY =
  "see that the migration into the file was completed and the file was copied in full";

/**
 * Returns the error for an image of which bytes could not be read; any other error as it is.
 *
 * @param path the image's file name
 * @param error what reading threw
 */
export function unreadImage(path: string, error: unknown): unknown {
  if (error instanceof MigrationError && error.code === "IMAGE_UNREADABLE") {
    return new ImageError("unreadable", path, "Image that cannot be read", error.message, {
      cause: error,
    });
  }
  if (!(error instanceof SyscallError) || error.syscall !== "pread") return error;
  const { code, errno } = error;
  if (errno === Errno.ENODATA) {
    const problem = "Image that became shorter while it was opened";
    return new ImageError("changed", path, problem, "stop what writes to it, then open it again", {
      cause: error,
    });
  }
  const remedy = "see what the kernel says of its disk or server (dmesg)";
  return new ImageError("unreadable", path, `Image that cannot be read, ${code},`, remedy, {
    cause: error,
  });
}
