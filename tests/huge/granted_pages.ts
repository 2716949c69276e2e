/** Huge pages for a test: taken from the machine for its duration. */

import { firstOf, needsRoot, type SkipReason, skipReason } from "../support/skip.ts";
import { HUGE } from "./huge_pages.ts";

function read(pageSize: number, name: string): number | undefined {
  try {
    return Number(Deno.readTextFileSync(fileOf(pageSize, name)));
  } catch {
    return undefined;
  }
}

function fileOf(pageSize: number, name: string): string {
  return `/sys/kernel/mm/hugepages/hugepages-${pageSize / 1024}kB/${name}`;
}

/**
 * Waits until no other process of tests has huge pages, as what is granted and what is free is of the
 * whole machine.
 *
 * @returns by closing it the next is let in
 */
function lock(pageSize: number): Deno.FsFile {
  const file = Deno.openSync(fileOf(pageSize, "nr_hugepages"));
  file.lockSync(true);
  return file;
}

/** Changes the number of huge pages by a difference, as other programs may change it too. */
function add(pageSize: number, count: number): void {
  const number = read(pageSize, "nr_hugepages")! + count;
  Deno.writeTextFileSync(fileOf(pageSize, "nr_hugepages"), `${number}`);
}

/**
 * The need for a number of huge pages that nobody uses.
 *
 * @param pageSize bytes of each; default 2 MiB
 */
export function needsHugePages(count: number, pageSize = HUGE): SkipReason | undefined {
  if (read(pageSize, "nr_hugepages") === undefined) {
    return skipReason("no support", `This kernel has no huge pages of ${pageSize / 2 ** 20} MiB`);
  }
  return firstOf(needsRoot(), needsGrant(count, pageSize));
}

function needsGrant(count: number, pageSize: number): SkipReason | undefined {
  try {
    using granted = new GrantedHugePages(count, pageSize);
    if (granted.count >= count) return undefined;
    return skipReason(
      "no support",
      `Needs ${count} huge pages of ${
        pageSize / 2 ** 20
      } MiB, this machine gives: ${granted.count}`,
    );
  } catch (error) {
    return skipReason("no permission", `Cannot set the number of huge pages: ${error}`);
  }
}

/** Huge pages beyond those that there were; given back when disposed of. One process at a time has some. */
export class GrantedHugePages implements Disposable {
  /** How many the kernel could make. */
  readonly count: number;
  readonly #pageSize: number;
  readonly #lock: Deno.FsFile;

  /**
   * @param count how many to ask for
   * @param pageSize bytes of each; default 2 MiB
   */
  constructor(count: number, pageSize = HUGE) {
    this.#pageSize = pageSize;
    this.#lock = lock(pageSize);
    try {
      const before = read(pageSize, "nr_hugepages")!;
      add(pageSize, count);
      this.count = read(pageSize, "nr_hugepages")! - before;
    } catch (error) {
      this.#lock.close();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    add(this.#pageSize, -this.count);
    this.#lock.close();
  }
}

/** Huge pages of 2 MiB that no file has, nor has been promised. */
export function availableHugePages(): number {
  return read(HUGE, "free_hugepages")! - read(HUGE, "resv_hugepages")!;
}
