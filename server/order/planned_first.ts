/** What goes first behind the guest's start. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { PageLocator } from "../../pages/page_locator.ts";
import type { OrderInit } from "./order_init.ts";
import { PlannedPages } from "./planned_pages.ts";
import { SendPlan } from "./send_plan.ts";

/** Makes the walk over a migration's plan; undefined when it has none, or does not send by it. */
export function plannedFirst(
  order: OrderInit | undefined,
  layout: RamLayout,
  dirty: PageBitmap,
  locator: PageLocator,
  stallTimeout: number,
): PlannedPages | undefined {
  if (order?.plan === undefined || !order.sends) return undefined;
  const plan = new SendPlan(layout, order.plan);
  return new PlannedPages(plan, layout, dirty, locator, stallTimeout);
}
