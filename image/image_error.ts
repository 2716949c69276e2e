/** What kind of thing was wrong with an image; stable, for programs. */
export type ImageErrorCode =
  | "not-found"
  | "not-an-image"
  | "truncated"
  | "malformed"
  | "unsupported"
  | "bad-description"
  | "changed"
  | "index-failed"
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
