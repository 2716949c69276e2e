/** What a test waits for that breaks something while a VMM works. */

import type { Lazy } from "../../client/lazy/lazy.ts";
import { until } from "../support/deadline.ts";

/** Waits until the first VMM, which may not have come yet, has touched one more missing page. */
export async function anotherFault(lazy: Lazy): Promise<void> {
  const faults = (): number => lazy.statistics()[0]?.faults ?? 0;
  const before = faults();
  await until("another fault", () => faults() > before);
}
