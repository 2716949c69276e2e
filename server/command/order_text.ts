/** What became of an order, as people read it. */

import { formatCount } from "../../migration/report/units.ts";
import type { OrderStatistics } from "../order/order_statistics.ts";

/** Of an image, in the last line. */
export function orderText({ planned, early, late }: OrderStatistics): string {
  return `${formatCount(early)} of ${formatCount(planned)} ordered pages before it ran and ${
    formatCount(late)
  } asked for all the same`;
}

/** Of a live guest, in the last line: its order is what it wrote. */
export function writtenFirstText({ planned, late }: OrderStatistics): string {
  return `${formatCount(planned)} pages written lately first and ${
    formatCount(late)
  } of them asked for all the same`;
}

/**
 * What a recording has shown.
 *
 * @param asked pages that were asked for
 * @param kept pages of the order as it is kept now
 * @param before the order that there was, compared with them; undefined when there was none
 */
export function recordedText(
  asked: number,
  kept: number,
  path: string,
  before: OrderStatistics | undefined,
): string {
  const compared = before === undefined
    ? ""
    : `; of ${formatCount(before.planned)} in the order before ${formatCount(before.late)} were ` +
      `touched and ${formatCount(before.unasked)} were not`;
  return `Recorded: ${formatCount(asked)} pages asked for, ${
    formatCount(kept)
  } in ${path}${compared}`;
}
