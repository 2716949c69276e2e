/** The order in which the processes of a dump touch their memory: kept in a file beside CRIU's images. */

import { orderMode } from "../../../image/order/order_file.ts";
import { RamLayout } from "../../../migration/memory/ram_layout.ts";
import { KeptOrder, type TouchOrderOptions } from "../kept_order.ts";
import { BASE_PAGE } from "../region.ts";
import type { TouchLog } from "../touch_log.ts";
import { type DumpedProcess, PageRuns } from "./page_runs.ts";

/** The name of the file in the directory of images. */
export const TREE_ORDER = "lazy-pages.postcopy-order";

/** The images that say which dump it is: each process's memory and registers, and the tree. */
const TELLING = /^(?:pagemap-\d+|core-\d+|inventory|pstree)\.img$/;

/** The order of one tree. Its pages are those of all processes, each of which is a block of the layout. */
export class TreeOrder {
  /** Where each process's first page is, by its number in the images. */
  readonly #firstPages: ReadonlyMap<number, number>;
  readonly #order: KeptOrder;

  private constructor(order: KeptOrder, firstPages: ReadonlyMap<number, number>) {
    this.#order = order;
    this.#firstPages = firstPages;
  }

  /**
   * Reads the order of a dump.
   *
   * @param directory of its images
   * @param processes that are in it
   * @param note told why one that there is is not used
   * @returns undefined when that is off
   */
  static async open(
    directory: string,
    processes: readonly DumpedProcess[],
    options: TouchOrderOptions,
    note: (text: string) => void,
  ): Promise<TreeOrder | undefined> {
    if (options.order === "off") return undefined;
    const sorted = [...processes].sort((one, other) => one.pid - other.pid);
    const sizes = sorted.map(({ pid, runs }) => ({
      name: `process-${pid}`,
      usedLength: new PageRuns(runs).pageCount * BASE_PAGE,
    })).filter(({ usedLength }) => usedLength > 0);
    if (sizes.length === 0) return undefined;
    const layout = new RamLayout(sizes);
    const firstPages = new Map(
      sorted.map(({ pid }) => [pid, layout.find(`process-${pid}`)?.firstPage ?? 0]),
    );
    const path = options.order ?? `${directory}/${TREE_ORDER}`;
    const owner = { stamp: await dumpStamp(directory), layout };
    const mode = () => orderMode({ path: `${directory}/inventory.img` });
    return new TreeOrder(await KeptOrder.open(path, owner, mode, options, note), firstPages);
  }

  /** Number of a process's first page in the tree. */
  firstPageOf(pid: number): number {
    return this.#firstPages.get(pid)!;
  }

  /** The process's own pages in their order, in shared memory; undefined where none is known. */
  planOf({ pid, runs }: DumpedProcess): SharedArrayBuffer | undefined {
    const first = this.firstPageOf(pid);
    const end = first + new PageRuns(runs).pageCount;
    const pages = this.#order.pages.filter((page) => page >= first && page < end);
    if (pages.length === 0) return undefined;
    const plan = new SharedArrayBuffer(pages.length * 4);
    new Int32Array(plan).set(pages.map((page) => page - first));
    return plan;
  }

  /** Where the tree's touches are noted, by its pages; undefined when they are not kept. */
  newLog(): TouchLog | undefined {
    return this.#order.newLog();
  }

  /**
   * Keeps what the processes touched.
   *
   * @returns what the user is to know
   */
  keep(log: TouchLog): Promise<string | undefined> {
    return this.#order.keep(log.pages);
  }
}

/** Tells a dump from every other, also of the same process, wherever it is copied to. */
export async function dumpStamp(directory: string): Promise<string> {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name).filter((name) =>
    TELLING.test(name)
  ).sort();
  let sums = "";
  for (const name of names) {
    const bytes = await Deno.readFile(`${directory}/${name}`);
    const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    sums += `${name} ${sum.toHex()}\n`;
  }
  const all = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(sums));
  return `criu-${new Uint8Array(all).toHex().slice(0, 32)}`;
}
