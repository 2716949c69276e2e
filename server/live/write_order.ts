/** The order of what is left of a live guest, as its precopy finds it out. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { Steps } from "../../migration/threads/task.ts";
import type { OrderInit } from "../order/order_init.ts";
import { SendPlan } from "../order/send_plan.ts";
import type { PostcopyPolicy } from "./convergence.ts";
import { WriteHistory } from "./write_history.ts";

/** A plan for what was written; undefined where there is no switch, or none before it that was seen. */
export function planOfWrites(policy: PostcopyPolicy, layout: RamLayout): SendPlan | undefined {
  return policy === "never" || policy === "now" ? undefined : new SendPlan(layout);
}

/** Notes what is written and makes the plan of it, where somebody wants one. */
export class WriteOrder {
  readonly #layout: RamLayout;
  readonly #plan: SendPlan | undefined;
  readonly #history: WriteHistory | undefined;

  /**
   * @param layout the blocks
   * @param order of the migration, if it has one
   */
  constructor(layout: RamLayout, order: OrderInit | undefined) {
    this.#layout = layout;
    this.#plan = order?.plan && new SendPlan(layout, order.plan);
    this.#history = this.#plan && new WriteHistory(layout.pageLimit);
  }

  /** {@linkcode WriteHistory.noting}. */
  *noting(dirty: PageBitmap, sent: PageBitmap): Steps {
    if (this.#history !== undefined) yield* this.#history.noting(dirty, sent);
  }

  /** {@linkcode WriteHistory.planning}. */
  *planning(dirty: PageBitmap): Steps {
    if (this.#plan === undefined) return;
    yield* this.#history!.planning(this.#layout, dirty, this.#plan);
  }
}
