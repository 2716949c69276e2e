/** An order of first touch in its file: read when processes are served, and kept when they have ended. */

import { mergeOrder } from "../../image/order/merge_order.ts";
import type { OrderOwner } from "../../image/order/order_codec.ts";
import {
  isVacant,
  ORDER_ELSEWHERE,
  readOrderOf,
  writeOrderFile,
} from "../../image/order/order_file.ts";
import { emptyOrder } from "../../image/order/order_list.ts";
import { TouchLog } from "./touch_log.ts";

/** What is said of an order. */
export interface TouchOrderOptions {
  /** Its file; default beside the image. `"off"`: none. */
  readonly order?: string | undefined;
  /** Whether what processes touch is kept; default false. */
  readonly record?: boolean | undefined;
}

/** An order is a hint: whatever is wrong with it is told in a line, and all is served all the same. */
export class KeptOrder {
  /** The pages of the owner's layout that come first; empty where nothing is known. */
  readonly pages: Int32Array;
  readonly #path: string;
  readonly #owner: OrderOwner;
  readonly #mode: () => Promise<number>;
  readonly #options: TouchOrderOptions;
  /** One is kept after the other. */
  #keeping: Promise<void> = Promise.resolve();

  private constructor(
    path: string,
    owner: OrderOwner,
    mode: () => Promise<number>,
    options: TouchOrderOptions,
    pages: Int32Array,
  ) {
    this.#path = path;
    this.#owner = owner;
    this.#mode = mode;
    this.#options = options;
    this.pages = pages;
  }

  /**
   * Reads an order.
   *
   * @param path its file
   * @param owner whose it has to be
   * @param mode permissions of the file when it is made
   * @param note told why one that there is is not used
   */
  static async open(
    path: string,
    owner: OrderOwner,
    mode: () => Promise<number>,
    options: TouchOrderOptions,
    note: (text: string) => void,
  ): Promise<KeptOrder> {
    const found = await readOrderOf(path, owner);
    if (typeof found === "string") note(`Order ${path} is not used: ${found}`);
    const pages = typeof found === "object" ? found.pages : new Int32Array(0);
    return new KeptOrder(path, owner, mode, options, pages);
  }

  /** Where touches are noted; undefined when they are not kept. */
  newLog(): TouchLog | undefined {
    return this.#options.record === true ? new TouchLog() : undefined;
  }

  /**
   * Keeps what was touched, merged with what was before.
   *
   * @param asked pages of the owner's layout; one may come again
   * @returns what the user is to know
   */
  async keep(asked: Int32Array): Promise<string | undefined> {
    const before = this.#keeping;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#keeping = promise;
    await before;
    try {
      return await this.#merge(asked);
    } finally {
      resolve();
    }
  }

  async #merge(asked: Int32Array): Promise<string | undefined> {
    if (asked.length === 0) return undefined;
    const path = this.#path;
    const found = await readOrderOf(path, this.#owner);
    if (typeof found === "string" && this.#options.order !== undefined && !await isVacant(path)) {
      return `Order is not kept, ${path} stays as it is: ${found}: name another with --order`;
    }
    const list = typeof found === "object" ? found : emptyOrder();
    // What was filled before it was touched tells nothing.
    const seen = { asked, tells: () => false };
    const merged = mergeOrder(list, seen, this.#owner.layout.pageLimit);
    const why = await writeOrderFile(path, { ...this.#owner, list: merged }, await this.#mode());
    return why === undefined
      ? `Order kept in ${path}: ${merged.pages.length} pages`
      : `Order is not kept: ${why}: ${ORDER_ELSEWHERE}`;
  }
}
