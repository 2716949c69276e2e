/** Huge pages for a test: taken from the machine for its duration. */

import { firstOf, needsRoot, type SkipReason, skipReason } from "../support/skip.ts";

const DIRECTORY = "/sys/kernel/mm/hugepages/hugepages-2048kB";

function read(name: string): number | undefined {
  try {
    return Number(Deno.readTextFileSync(`${DIRECTORY}/${name}`));
  } catch {
    return undefined;
  }
}

/** Changes the number of huge pages by a difference, as other programs may change it too. */
function add(count: number): void {
  Deno.writeTextFileSync(`${DIRECTORY}/nr_hugepages`, `${read("nr_hugepages")! + count}`);
}

/** The need for a number of huge pages of 2 MiB that nobody uses. */
export function needsHugePages(count: number): SkipReason | undefined {
  if (read("nr_hugepages") === undefined) {
    return skipReason("no support", "This kernel has no huge pages of 2 MiB");
  }
  return firstOf(needsRoot(), needsGrant(count));
}

function needsGrant(count: number): SkipReason | undefined {
  try {
    using granted = new GrantedHugePages(count);
    if (granted.count >= count) return undefined;
    return skipReason(
      "no support",
      `Needs ${count} huge pages, this machine gives: ${granted.count}`,
    );
  } catch (error) {
    return skipReason("no permission", `Cannot set the number of huge pages: ${error}`);
  }
}

/** Huge pages beyond those that there were; given back when disposed of. */
export class GrantedHugePages implements Disposable {
  /** How many the kernel could make. */
  readonly count: number;

  /** @param count how many to ask for */
  constructor(count: number) {
    const before = read("nr_hugepages")!;
    add(count);
    this.count = read("nr_hugepages")! - before;
  }

  [Symbol.dispose](): void {
    add(-this.count);
  }
}

/** Huge pages that no file has, nor has been promised. */
export function availableHugePages(): number {
  return read("free_hugepages")! - read("resv_hugepages")!;
}
