/** Images of a workload guest, for the source to serve. */

import { imageExists } from "../image/partial_file.ts";
import { descriptionPath, writeRawDescription } from "../image/raw/raw_description.ts";
import {
  PATTERN_PAGE_BYTES,
  PATTERN_PAGE_WORDS,
  TestPattern,
  type TestPatternSettings,
} from "./test_pattern.ts";
import { encodeWorkloadState } from "./device_state.ts";

const PAGES_PER_WRITE = 256;

/** A RAM block of an image. */
export interface ImageBlock {
  /** Its name in the stream. */
  readonly name: string;
  /** Bytes, a multiple of 4096. */
  readonly length: number;
}

/** What an image holds. */
export interface WorkloadImageOptions extends TestPatternSettings {
  /** The guest's RAM, at least one block. */
  readonly blocks: readonly ImageBlock[];
  /** Whether files of these names may be replaced; default no. */
  readonly overwrite?: boolean | undefined;
  /** Ends the writing early; what was written stays. */
  readonly signal?: AbortSignal;
}

/**
 * Writes a saved workload guest: a raw memory file, and beside it `PATH.json` that describes it and
 * `PATH.devices` with its device state. 512 MiB take about a second.
 *
 * @param path the memory file
 * @throws the signal's reason when it was aborted
 * @throws {RangeError} for a block that is no whole number of pages
 * @throws {SyscallError} `EEXIST` when one of the files is there and may not be replaced
 */
export async function writeWorkloadImage(
  path: string,
  options: WorkloadImageOptions,
): Promise<void> {
  const pattern = new TestPattern(options);
  let length = 0;
  const blocks = options.blocks.map((block) => {
    if (
      !Number.isSafeInteger(block.length) || block.length <= 0 ||
      block.length % PATTERN_PAGE_BYTES !== 0
    ) {
      throw new RangeError(
        `Length of RAM block ${block.name} is no positive multiple of ${PATTERN_PAGE_BYTES}: ${block.length}`,
      );
    }
    const offset = length;
    length += block.length;
    return { name: block.name, offset, length: block.length };
  });
  const pages = length / PATTERN_PAGE_BYTES;
  if (options.overwrite !== true) {
    await claim([path, `${path}.devices`, descriptionPath(path)]);
  }
  await writeMemory(path, pattern, pages, options.signal);
  const state = { ...pattern.settings, pages };
  await Deno.writeFile(`${path}.devices`, encodeWorkloadState(state));
  await writeRawDescription(path, {
    machine: "postcopy-workload",
    targetPageSize: PATTERN_PAGE_BYTES,
    blocks,
    devices: `${baseName(path)}.devices`,
  });
}

/** Makes all of the files, empty, or none: what is there already is somebody's. */
async function claim(paths: readonly string[]): Promise<void> {
  const made: string[] = [];
  for (const path of paths) {
    try {
      (await Deno.open(path, { write: true, createNew: true })).close();
      made.push(path);
    } catch (error) {
      for (const each of made) await Deno.remove(each);
      throw error instanceof Deno.errors.AlreadyExists ? imageExists(path) : error;
    }
  }
}

async function writeMemory(
  path: string,
  pattern: TestPattern,
  pages: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  const words = new Int32Array(PAGES_PER_WRITE * PATTERN_PAGE_WORDS);
  const bytes = new Uint8Array(words.buffer);
  for (let first = 0; first < pages; first += PAGES_PER_WRITE) {
    signal?.throwIfAborted();
    const count = Math.min(PAGES_PER_WRITE, pages - first);
    for (let index = 0; index < count; index++) {
      pattern.expectedPage(first + index, words, index * PATTERN_PAGE_WORDS);
    }
    const end = count * PATTERN_PAGE_BYTES;
    for (let at = 0; at < end;) at += await file.write(bytes.subarray(at, end));
  }
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
