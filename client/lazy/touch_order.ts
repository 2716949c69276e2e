/** The order in which processes touch a memory file: read from a file beside it, and kept there. */

import type { Image } from "../../image/image.ts";
import { guestOf } from "../../image/guest_stamp.ts";
import { orderMode, orderPath } from "../../image/order/order_file.ts";
import { KeptOrder, type TouchOrderOptions } from "./kept_order.ts";
import type { MemorySpan } from "./memory_pages.ts";
import { BASE_PAGE } from "./region.ts";
import type { TouchLog } from "./touch_log.ts";

/** The order of an image, whose file numbers its pages by its layout, and processes by the memory. */
export class TouchOrder {
  /** Pages of the memory in their order, in shared memory; undefined where none is known. */
  readonly plan: SharedArrayBuffer | undefined;
  readonly #order: KeptOrder;
  readonly #spans: readonly MemorySpan[];

  private constructor(order: KeptOrder, spans: readonly MemorySpan[]) {
    this.#order = order;
    this.#spans = spans;
    const { pages } = order;
    if (pages.length === 0) return;
    this.plan = new SharedArrayBuffer(pages.length * 4);
    new Int32Array(this.plan).set(pages.map((page) => this.#inMemory(page)));
  }

  /**
   * Reads the order of an image.
   *
   * @param spans where its blocks lie in the memory
   * @param note told why one that there is is not used
   * @returns undefined when that is off
   */
  static async open(
    image: Image,
    spans: readonly MemorySpan[],
    options: TouchOrderOptions,
    note: (text: string) => void,
  ): Promise<TouchOrder | undefined> {
    if (options.order === "off") return undefined;
    const path = options.order ?? orderPath(image);
    const owner = { stamp: await guestOf(image), layout: image.layout };
    const order = await KeptOrder.open(path, owner, () => orderMode(image), options, note);
    return new TouchOrder(order, spans);
  }

  /** Where a process's touches are noted; undefined when they are not kept. */
  newLog(): TouchLog | undefined {
    return this.#order.newLog();
  }

  /**
   * Keeps what a process touched, merged with what others did.
   *
   * @returns what the user is to know
   */
  keep(log: TouchLog): Promise<string | undefined> {
    return this.#order.keep(log.pages.map((page) => this.#inLayout(page)));
  }

  #inMemory(page: number): number {
    let at = this.#spans.length - 1;
    while (this.#spans[at]!.firstPage > page) at--;
    const { offset, firstPage } = this.#spans[at]!;
    return offset / BASE_PAGE + page - firstPage;
  }

  #inLayout(page: number): number {
    let at = this.#spans.length - 1;
    while (this.#spans[at]!.offset > page * BASE_PAGE) at--;
    const { offset, firstPage } = this.#spans[at]!;
    return firstPage + page - offset / BASE_PAGE;
  }
}
