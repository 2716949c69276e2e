/** What became of an order's pages. */

import type { SendPlan } from "./send_plan.ts";

/** Target pages of an order, by what became of them. A huge page counts with all of its target pages. */
export interface OrderStatistics {
  /** In the order. */
  readonly planned: number;
  /** Sent before the guest ran. Whether it touched them nobody sees. */
  readonly early: number;
  /** Asked for all the same: they came too late, or what is asked for was only compared with the order. */
  readonly late: number;
  /** Neither: sent in their turn, and nobody asked for them before. */
  readonly unasked: number;
}

/** Adds them to figures, where there are any. */
export function withOrder<F extends { readonly order?: OrderStatistics }>(
  figures: F,
  plan: SendPlan | undefined,
): F {
  if (plan === undefined || plan.count === 0) return figures;
  return { ...figures, order: orderStatistics(plan) };
}

function orderStatistics(plan: SendPlan): OrderStatistics {
  const planned = plan.pages;
  const early = plan.warmPages;
  const late = plan.latePages;
  // One that was sent before the guest ran may be asked for again behind a pause.
  return { planned, early, late, unasked: Math.max(0, planned - early - late) };
}
