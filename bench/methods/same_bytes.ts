/** Whether memory holds what a file holds. */

const PIECE = 1 << 20;

/** Reads so many bytes, or up to the end of the file; returns how many. */
function readFully(file: Deno.FsFile, into: Uint8Array): number {
  let done = 0;
  while (done < into.length) {
    const count = file.readSync(into.subarray(done));
    if (count === null) break;
    done += count;
  }
  return done;
}

/** Finds the first byte that differs; undefined when there is none. */
function difference(a: Uint8Array<ArrayBuffer>, b: Uint8Array<ArrayBuffer>): number | undefined {
  const words = [a, b].map(({ buffer, byteOffset, length }) =>
    new BigUint64Array(buffer, byteOffset, length / 8)
  );
  const [left, right] = [words[0]!, words[1]!];
  for (let i = 0; i < left.length; i++) {
    if (left[i] === right[i]) continue;
    let at = i * 8;
    while (a[at] === b[at]) at++;
    return at;
  }
  return undefined;
}

/**
 * Compares memory with a file.
 *
 * @param path a file of as many bytes
 * @param piece gives a part of the memory: offset and bytes, multiples of 8 within it
 * @param size bytes, a multiple of 8
 * @throws {Error} when the first byte differs, with its offset
 */
export function checkSameBytes(
  path: string,
  piece: (offset: number, length: number) => Uint8Array<ArrayBuffer>,
  size: number,
): void {
  using file = Deno.openSync(path);
  const expected = new Uint8Array(PIECE);
  for (let offset = 0; offset < size; offset += PIECE) {
    const length = Math.min(PIECE, size - offset);
    const view = expected.subarray(0, length);
    const found = readFully(file, view) < length ? 0 : difference(view, piece(offset, length));
    if (found !== undefined) {
      throw new Error(`Memory differs from what was sent at byte: ${offset + found}`);
    }
  }
}

/** Compares two files of the same size as {@linkcode checkSameBytes} does. */
export function checkSameFiles(path: string, other: string, size: number): void {
  using file = Deno.openSync(other);
  const bytes = new Uint8Array(PIECE);
  checkSameBytes(path, (_, length) => {
    const view = bytes.subarray(0, length);
    readFully(file, view);
    return view;
  }, size);
}
