/** The programs in C of bench:lazy. */

/** Builds a program of this folder into a directory; returns its path. */
export async function buildProgram(name: string, directory: string): Promise<string> {
  const source = decodeURIComponent(new URL(`./${name}.c`, import.meta.url).pathname);
  const path = `${directory}/${name}`;
  const args = ["-O2", "-pthread", "-o", path, source];
  const { success, stderr } = await new Deno.Command("gcc", { args }).output();
  if (!success) throw new Error(`gcc: ${new TextDecoder().decode(stderr)}`);
  return path;
}

/** What toucher.c says of its touches. */
export interface Touches {
  /** Milliseconds since 1970 at which it began. */
  readonly begin: number;
  /** Milliseconds since 1970 at which all was read. */
  readonly end: number;
  /** Microseconds of a touch. */
  readonly p50: number;
  readonly p99: number;
  readonly touches: number;
  /** Of a balloon, if there was one. */
  readonly removals: number;
  /** Microseconds of a removal. */
  readonly removalP50: number;
}

/**
 * Reads what toucher.c says.
 *
 * @throws {Error} when a page held something else than it should
 */
export function readTouches(text: string): Touches {
  const [begin, end, wrong, p50, p99, touches, removals, removalP50] = text.trim().split(" ")
    .map(Number);
  if (wrong !== 0) throw new Error(`Pages that hold something else: ${text}`);
  return {
    begin: begin! / 1e6,
    end: end! / 1e6,
    p50: p50! / 1000,
    p99: p99! / 1000,
    touches: touches!,
    removals: removals!,
    removalP50: removalP50! / 1000,
  };
}

/** Milliseconds since 1970, with fractions. */
export function wallClock(): number {
  return performance.timeOrigin + performance.now();
}

/** The memory that toucher.c expects. */
export function touchedContent(mebibytes: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(mebibytes * 2 ** 18);
  for (let page = 0; page < mebibytes * 256; page++) {
    words.fill(Math.imul(page + 1, 2654435761) >>> 0, page * 1024, (page + 1) * 1024);
  }
  return new Uint8Array(words.buffer);
}
