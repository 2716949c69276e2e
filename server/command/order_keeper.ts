/** The order of first touch of an image that is served: read before, kept afterwards. */

import { guestOf } from "../../image/guest_stamp.ts";
import { knownHot } from "../../image/hot/known_hot.ts";
import type { Image } from "../../image/image.ts";
import { mergeOrder } from "../../image/order/merge_order.ts";
import type { OrderOwner } from "../../image/order/order_codec.ts";
import {
  isVacant,
  ORDER_ELSEWHERE,
  orderMode,
  orderPath,
  readOrderOf,
  writeOrderFile,
} from "../../image/order/order_file.ts";
import {
  emptyOrder,
  IDLE_SINKS,
  type OrderList,
  unseenOrder,
} from "../../image/order/order_list.ts";
import { nameRuns, numberRuns } from "../order/page_run.ts";
import type { OrderOptions } from "../order/source_order.ts";
import type { Source, SourceOptions } from "../source.ts";
import type { OrderArguments } from "./order_arguments.ts";
import { recordedText } from "./order_text.ts";

/**
 * What a `serve` knows of its image's order. It is a hint: whatever is wrong with it is told in a line, and the
 * image is served all the same.
 */
export class OrderKeeper {
  /** What the user is to know before anything is sent. */
  readonly notes: readonly string[];
  /** For the source. */
  readonly options: OrderOptions;
  readonly #image: Image;
  /** Undefined where none is kept. */
  readonly #path: string | undefined;
  readonly #owner: OrderOwner;
  /** Whether a file that is no order of this guest may be replaced: one that bears the name of an order. */
  readonly #mayReplace: boolean;
  /** What it goes by where no restore was seen. */
  readonly #unseen: OrderList;

  private constructor(
    image: Image,
    path: string | undefined,
    owner: OrderOwner,
    { order, options }: OrderArguments,
    found: OrderList | string | undefined,
    unseen: OrderList,
  ) {
    this.#image = image;
    this.#path = path;
    this.#owner = owner;
    this.#mayReplace = order === undefined;
    this.#unseen = unseen;
    this.notes = typeof found === "string" ? [`Order ${path} is not used: ${found}`] : [];
    const list = typeof found === "object" ? found : unseen;
    this.options = {
      ...options,
      ...path === undefined ? {} : { noteRequests: true },
      ...list.pages.length === 0 ? {} : { order: runsOf(owner, list) },
    };
  }

  /**
   * Reads the order of an image, unless that is off. Where there is none the guest's device state tells what it
   * touches first.
   *
   * @param image an open image
   */
  static async open(image: Image, said: OrderArguments): Promise<OrderKeeper> {
    const owner = { stamp: await guestOf(image), layout: image.layout };
    const path = said.order === "off" ? undefined : said.order ?? orderPath(image);
    const found = path === undefined ? undefined : await readOrderOf(path, owner);
    const unseen = path === undefined || typeof found === "object"
      ? emptyOrder()
      : unseenOrder(knownHot(image));
    return new OrderKeeper(image, path, owner, said, found, unseen);
  }

  /**
   * Keeps what was seen of a restore. What others kept meanwhile is merged, not lost, unless they do so just now.
   *
   * @param source which has ended
   * @param options that it had
   * @param completed whether the destination has everything
   * @returns what the user is to know
   */
  async keep(
    source: Source,
    { recover = false, holdBack = 0, multifd }: Pick<
      SourceOptions,
      "recover" | "holdBack" | "multifd"
    >,
    completed: boolean,
  ): Promise<readonly string[]> {
    const path = this.#path;
    if (path === undefined) return [];
    const { layout } = this.#owner;
    const asked = Int32Array.from(numberRuns(layout, source.requested()));
    const early = new Set(numberRuns(layout, source.sentEarly()));
    // A guest that is not seen from its start to its end says nothing of what it did not ask for.
    const whole = completed && !recover && multifd === undefined;
    const found = await readOrderOf(path, this.#owner);
    // Of what went early by the device state nobody hears again: it is an order from the start. A recording has
    // seen whether it is touched.
    const unseen = holdBack > 0 ? emptyOrder() : this.#unseen;
    const list = typeof found === "object" ? found : unseen;
    if (asked.length === 0 && (!whole || list.pages.length === 0)) return [];
    if (typeof found === "string" && !this.#mayReplace && !await isVacant(path)) {
      return [`Order is not kept, ${path} stays as it is: ${found}: name another with --order`];
    }
    const tells = (page: number): boolean => whole && !early.has(page);
    const merged = mergeOrder(list, { asked, tells }, layout.pageLimit);
    const order = { ...this.#owner, list: merged };
    const why = await writeOrderFile(path, order, await orderMode(this.#image));
    if (why !== undefined) {
      return [`Order is not kept: ${why}: ${ORDER_ELSEWHERE}`];
    }
    if (holdBack === 0) return [];
    const { order: before } = source.statistics();
    return [recordedText(asked.length, merged.pages.length, path, before)];
  }
}

/** Names the pages of a list; those that restores no longer ask for are not sent early. */
function runsOf(
  { layout }: OrderOwner,
  { pages, idle }: OrderList,
): OrderOptions["order"] & object {
  return nameRuns(layout, pages, (place) => idle[place]! < IDLE_SINKS);
}
