/** Noting what is asked for, on the thread that serves it. */

import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { OrderInit } from "./order_init.ts";
import { RequestLog } from "./request_log.ts";
import { SendPlan } from "./send_plan.ts";

/** Notes requests where somebody wants to know, in 20 ns each. */
export class RequestNotes {
  readonly #plan: SendPlan | undefined;
  readonly #log: RequestLog | undefined;

  /**
   * @param layout the blocks
   * @param order of the migration, if it has one
   */
  constructor(layout: RamLayout, order: OrderInit | undefined) {
    this.#plan = order?.plan && new SendPlan(layout, order.plan);
    this.#log = order?.log && new RequestLog(layout, order.log);
  }

  /**
   * Notes a request by its first host page. A destination asks for one at a time; of a range nobody knows
   * which was touched.
   *
   * @param page the first target page of a host page
   */
  note(page: number): void {
    this.#log?.add(page);
    this.#plan?.noteRequest(page);
  }
}
