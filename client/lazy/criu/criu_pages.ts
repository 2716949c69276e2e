/** The bytes of one process's pages in the files of CRIU's images, and whether they can be had. */

import { monotonicNanoseconds } from "../../../ffi/clock.ts";
import { Errno, SyscallError } from "../../../ffi/errno.ts";
import { Residency } from "../../../ffi/residency.ts";
import type { Tell } from "../../../migration/threads/task.ts";
import { FileWatch, unreadable } from "../../../pages/stored_file.ts";
import type { LazyMessage, OnLoss } from "../lazy_task.ts";
import { PageLoss } from "../page_loss.ts";
import { BASE_PAGE } from "../region.ts";
import type { PagesFile } from "./criu_images.ts";
import type { PageRuns } from "./page_runs.ts";

/** Pages the kernel is asked to read ahead of the fill when one is not at hand, more than are placed at a time: 4 MiB. */
const AHEAD_PAGES = 1024;
/** Nanoseconds between two looks for a page that is on a disk, and after which it is read whatever that takes. */
export const DISK_INTERVAL = 100e3;
const DISK_PATIENCE = 50e6;

/** Finds pages in files. One process's own. */
export class CriuPages {
  /** Of pages in files. */
  readonly loss: PageLoss;
  /** Of those at the page server, which does not come back. */
  readonly serverLoss: PageLoss;
  readonly #runs: PageRuns;
  readonly #files: readonly PagesFile[];
  readonly #watches: readonly FileWatch[];
  readonly #residency = new Residency();
  #mayTry = true;
  /** The file that was seen to be what it was, in this step; -1: none. */
  #checked = -1;
  #fillPage = -1;
  #fillSince = 0;

  constructor(
    runs: PageRuns,
    files: readonly PagesFile[],
    onLoss: OnLoss,
    tell: Tell<LazyMessage>,
  ) {
    this.#runs = runs;
    this.#files = files;
    this.#watches = files.map(({ file }) => new FileWatch(file));
    this.loss = new PageLoss(onLoss, -1, tell);
    this.serverLoss = new PageLoss(onLoss, -1, tell);
  }

  /** Whether files are to be tried in this step: always as long as nothing is lost, then now and again. */
  get mayTry(): boolean {
    return this.#mayTry;
  }

  /** A step begins. */
  begin(now: number): void {
    this.#mayTry = this.loss.mayTry(now);
    this.#checked = -1;
  }

  /**
   * Address of a page's bytes for system calls.
   *
   * @param page one that is in a file
   * @throws {MigrationError} `IMAGE_CHANGED`, `IMAGE_UNREADABLE`
   */
  locate(page: number): number {
    const { file } = this.#runs.runs[this.#runs.runOf(page)]!;
    if (file !== this.#checked) {
      this.#watches[file]!.check();
      this.#checked = file;
    }
    return this.#addressOf(page);
  }

  /** A page could not be placed. */
  lose(error: unknown, page: number): void {
    this.#mayTry = false;
    this.loss.begin(this.#reasonOf(error, page), monotonicNanoseconds());
  }

  /** Reports whether pages of one run, at most 512, can be placed without waiting for a disk. */
  has(page: number, count: number): boolean {
    this.#list(page, count);
    return this.#residency.resident;
  }

  /**
   * Has the kernel read a page that somebody waits for.
   *
   * @param since when it was first asked for; 0: it is now
   * @returns true when that has taken so long that it is read as it is: that shows what is wrong
   */
  awaitPage(page: number, since: number, now: number): boolean {
    if (since === 0) this.#request(page, 1);
    return since !== 0 && now - since > DISK_PATIENCE;
  }

  /** Has the kernel read on from a page that nobody waits for; returns true as `awaitPage` does. */
  awaitFill(page: number, now: number): boolean {
    if (this.#fillPage !== page) {
      this.#fillPage = page;
      this.#fillSince = now;
      const end = this.#runs.endOf(this.#runs.runOf(page));
      this.#request(page, Math.min(AHEAD_PAGES, end - page));
    }
    return now - this.#fillSince > DISK_PATIENCE;
  }

  #request(page: number, count: number): void {
    this.#list(page, count);
    this.#residency.request();
  }

  /** Their bytes lie behind each other. */
  #list(page: number, count: number): void {
    this.#residency.clear();
    this.#residency.add(this.#addressOf(page), count * BASE_PAGE);
  }

  #addressOf(page: number): number {
    const index = this.#runs.runOf(page);
    const { file, offset } = this.#runs.runs[index]!;
    const inRun = (page - this.#runs.firstPageOf(index)) * BASE_PAGE;
    return this.#files[file]!.address + offset + inRun;
  }

  #reasonOf(error: unknown, page: number): unknown {
    if (!(error instanceof SyscallError) || error.errno !== Errno.EFAULT) return error;
    const { file } = this.#runs.runs[this.#runs.runOf(page)]!;
    try {
      this.#watches[file]!.check();
    } catch (changed) {
      return changed;
    }
    return unreadable(this.#files[file]!.file, "a page that was to be placed");
  }
}
