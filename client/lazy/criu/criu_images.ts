/** A directory of CRIU's images: the memory of every process in it. */

import { MappedFile } from "../../../ffi/mapped_file.ts";
import { ImageError, TRUNCATED_REMEDY } from "../../../image/image_error.ts";
import { type StoredFile, storedFile } from "../../../pages/stored_file.ts";
import { BASE_PAGE } from "../region.ts";
import type { DumpedProcess, PageRun } from "./page_runs.ts";
import { type Pagemap, readPagemap } from "./pagemap.ts";

/** A mapped file of pages. Plain data, for `postMessage`. */
export interface PagesFile {
  readonly file: StoredFile;
  /** Address of its first byte, for system calls. */
  readonly address: number;
}

/** Open images. Whoever uses what they say closes them afterwards. */
export class CriuImages implements Disposable {
  /** By their number in the name. */
  readonly processes = new Map<number, DumpedProcess>();
  readonly #mapped: MappedFile[] = [];
  readonly #indexes = new Map<string, number>();

  private constructor() {}

  /**
   * Opens all images of a directory, and those that they build on.
   *
   * @throws {ImageError} when they cannot be served
   */
  static open(directory: string): CriuImages {
    const images = new CriuImages();
    try {
      for (const name of namesIn(directory)) {
        const pid = Number(/^pagemap-(\d+)\.img$/.exec(name)?.[1] ?? -1);
        if (pid >= 0) images.processes.set(pid, images.#readProcess(directory, pid));
      }
      if (images.processes.size > 0) return images;
      const problem = "Directory without a pagemap-PID.img";
      throw new ImageError("not-an-image", directory, problem, DIRECTORY_REMEDY);
    } catch (error) {
      images[Symbol.dispose]();
      throw error;
    }
  }

  /** The files of pages, by index. */
  get files(): PagesFile[] {
    return this.#mapped.map((file) => ({ file: storedFile(file)!, address: file.address }));
  }

  /** Pages that were not dumped into files. */
  get pagesAtSource(): number {
    const runs = [...this.processes.values()].flatMap(({ runs }) => runs);
    return runs.reduce((sum, { file, pages }) => file < 0 ? sum + pages : sum, 0);
  }

  /** Some of these at random; one may be there twice. */
  somePagesAtSource(): { readonly imageId: number; readonly address: number }[] {
    const runs = [...this.processes.values()].flatMap(({ pid, runs }) =>
      runs.filter(({ file }) => file < 0).map((run) => ({ pid, ...run }))
    );
    if (runs.length === 0) return [];
    return Array.from({ length: SOME }, () => {
      const { pid, address, pages } = runs[Math.floor(Math.random() * runs.length)]!;
      return { imageId: pid, address: address + Math.floor(Math.random() * pages) * BASE_PAGE };
    });
  }

  /** Closes the files. */
  [Symbol.dispose](): void {
    for (const file of this.#mapped) file.close();
  }

  #readProcess(directory: string, pid: number): DumpedProcess {
    return { pid, runs: joined(this.#readRuns(directory, pid, [])) };
  }

  /** @param newer directories of the dumps behind this one */
  #readRuns(directory: string, pid: number, newer: readonly string[]): PageRun[] {
    const path = `${directory}/pagemap-${pid}.img`;
    const pagemap = readPagemap(Deno.readFileSync(path), path);
    const runs = this.#ownRuns(directory, path, pagemap);
    if (!pagemap.entries.some(({ origin }) => origin === "parent")) return runs;
    const parents = this.#parentRuns(directory, path, pid, newer);
    for (const { address, pages, origin } of pagemap.entries) {
      if (origin === "parent") runs.push(...cut(parents, address, pages, path));
    }
    return runs.sort((one, other) => one.address - other.address);
  }

  #parentRuns(
    directory: string,
    path: string,
    pid: number,
    newer: readonly string[],
  ): PageRun[] {
    try {
      // By its real name: a path through more than 40 links cannot be opened.
      const real = Deno.realPathSync(`${directory}/parent`);
      const dumps = [...newer, Deno.realPathSync(directory)];
      if (dumps.includes(real)) {
        const remedy = "see where the links named parent lead";
        throw new ImageError("malformed", path, "Dump that builds on itself", remedy);
      }
      return this.#readRuns(real, pid, dumps);
    } catch (cause) {
      if (!(cause instanceof Deno.errors.NotFound)) throw cause;
      const problem = `Pages in the dump before, which is not there: ${directory}/parent`;
      const remedy = "copy the directories of all dumps, and the links named parent as they are";
      throw new ImageError("not-found", path, problem, remedy, { cause });
    }
  }

  /** Those of this dump, also where it is the parent of another. */
  #ownRuns(directory: string, path: string, { pagesId, entries }: Pagemap): PageRun[] {
    let offset = 0;
    const runs: PageRun[] = [];
    const stored = entries.some(({ origin }) => origin === "file");
    const file = stored ? this.#fileIndex(`${directory}/pages-${pagesId}.img`) : -1;
    let end = -1;
    for (const { address, pages, origin } of entries) {
      if (address < end) {
        throw new ImageError(
          "malformed",
          path,
          `Pages that overlap at address 0x${address.toString(16)}`,
          "see that the directory is one of a criu dump that ended well, copied in full",
        );
      }
      end = address + pages * BASE_PAGE;
      if (origin === "parent") continue;
      const here = origin === "file";
      runs.push({ address, pages, file: here ? file : -1, offset: here ? offset : 0 });
      if (here) offset += pages * BASE_PAGE;
    }
    if (stored && offset > this.#mapped[file]!.length) {
      const { path: name, length } = this.#mapped[file]!;
      const problem = `Pages of ${length} bytes, of which there should be ${offset}`;
      throw new ImageError("truncated", name, problem, TRUNCATED_REMEDY);
    }
    return runs;
  }

  #fileIndex(path: string): number {
    const real = realPath(path);
    const known = this.#indexes.get(real);
    if (known !== undefined) return known;
    const { size } = Deno.statSync(real);
    if (size === 0) throw new ImageError("truncated", path, "File of 0 bytes", TRUNCATED_REMEDY);
    const index = this.#mapped.push(MappedFile.open(real, size)) - 1;
    this.#indexes.set(real, index);
    return index;
  }
}

/** Pages by which it is tried to go on with a connection that another has asked by: each may fail. */
const SOME = 16;

const DIRECTORY_REMEDY = "give the one that criu dump wrote its images to (its -D)";

function namesIn(directory: string): string[] {
  try {
    return [...Deno.readDirSync(directory)].map(({ name }) => name);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory)) {
      throw cause;
    }
    const problem = "Directory that is not there";
    throw new ImageError("not-found", directory, problem, DIRECTORY_REMEDY, { cause });
  }
}

function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new ImageError("not-found", path, "File of pages that is not there", TRUNCATED_REMEDY, {
      cause,
    });
  }
}

/** The parts of runs that lie in a range, which they must cover. */
function cut(runs: readonly PageRun[], start: number, pages: number, path: string): PageRun[] {
  const end = start + pages * BASE_PAGE;
  const parts: PageRun[] = [];
  let at = start;
  for (const run of runs) {
    const runEnd = run.address + run.pages * BASE_PAGE;
    if (runEnd <= at || run.address >= end) continue;
    if (run.address > at) break;
    const skipped = at - run.address;
    const until = Math.min(runEnd, end);
    parts.push({
      address: at,
      pages: (until - at) / BASE_PAGE,
      file: run.file,
      offset: run.file < 0 ? 0 : run.offset + skipped,
    });
    at = until;
  }
  if (at >= end) return parts;
  throw new ImageError(
    "malformed",
    path,
    `Page that the dump before lacks: 0x${at.toString(16)}`,
    "see that the links named parent lead to the dumps that were made before this one",
  );
}

/** CRIU writes 1 MiB an entry, and so many of one range. */
function joined(runs: readonly PageRun[]): PageRun[] {
  const all: PageRun[] = [];
  for (const run of runs) {
    const last = all.at(-1);
    const follows = last !== undefined && last.file === run.file &&
      last.address + last.pages * BASE_PAGE === run.address &&
      (run.file < 0 || last.offset + last.pages * BASE_PAGE === run.offset);
    if (follows) all[all.length - 1] = { ...last, pages: last.pages + run.pages };
    else all.push(run);
  }
  return all;
}
