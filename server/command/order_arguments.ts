/** The options of a `serve` that go by the order of first touch. */

import {
  countArgument,
  type Options,
  type OptionValues,
  secondsArgument,
  UsageError,
} from "../../migration/command/arguments.ts";
import { DEFAULT_WARM, MOST_WARM, type OrderOptions } from "../order/source_order.ts";

/** The options, for `parseCommand`. */
export const ORDER_OPTIONS = {
  order: {
    value: "FILE|off",
    help:
      "where the order is kept in which the machine touched its memory in restores before, which is sent " +
      "first; default IMAGE.postcopy-order; without one, what its processors and devices point to; off: " +
      "neither used nor kept",
  },
  warm: {
    value: "MILLISECONDS",
    help:
      "how long pages of the order may take before the machine runs; as many are sent as go by then; " +
      `default ${DEFAULT_WARM}; 0: none`,
  },
  record: {
    value: "SECONDS",
    help:
      "for so long send only what the machine asks for, so that the order has all that it touches; the " +
      "order that there is is not used, but compared",
  },
} as const satisfies Options;

/** What was said. */
export interface OrderArguments {
  /** The order's file; undefined: beside the image; `"off"`: none. */
  readonly order: string | undefined;
  readonly options: Pick<OrderOptions, "warm" | "holdBack">;
}

/**
 * Reads the options.
 *
 * @throws {UsageError} for one that cannot be understood
 */
export function orderArguments(values: OptionValues<typeof ORDER_OPTIONS>): OrderArguments {
  const { order, warm, record } = values;
  if (order === "") throw new UsageError("No file after --order: name one, or write --order off");
  if (order === "off" && record !== undefined) {
    throw new UsageError("Both --order off and --record given: leave out one");
  }
  return {
    order,
    options: {
      ...warm === undefined ? {} : { warm: warmArgument(warm) },
      ...record === undefined ? {} : { holdBack: secondsArgument("record", record) },
    },
  };
}

function warmArgument(text: string): number {
  const milliseconds = countArgument("warm", text);
  if (milliseconds <= MOST_WARM) return milliseconds;
  throw new UsageError(`No milliseconds up to ${MOST_WARM} after --warm: ${text}`);
}
