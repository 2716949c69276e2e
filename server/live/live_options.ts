/** What a live source may be told. */

import { checkCarriers } from "../outgoing/carriers.ts";
import type { OutgoingOptions } from "../outgoing/outgoing_options.ts";
import type { PostcopyPolicy } from "./convergence.ts";

/** How to migrate a running guest. */
export interface LiveSourceOptions extends OutgoingOptions {
  /** What may end precopy by a switch to postcopy; default `"auto"`: when it does not converge. */
  readonly postcopy?: PostcopyPolicy;
  /** Milliseconds that the guest may stand still when precopy ends; default 300, as QEMU's. */
  readonly downtimeLimit?: number;
  /** Bytes a second of precopy; default 0, no limit. */
  readonly maxBandwidth?: number;
  /** Cancels the migration as `LiveSource.cancel` does. */
  readonly signal?: AbortSignal;
}

/** Milliseconds that the guest may stand still when nothing else is said. */
export const DEFAULT_DOWNTIME_LIMIT = 300;

/** Options that can be out of their range. */
export interface CheckedLiveOptions
  extends Pick<OutgoingOptions, "compress" | "multifd" | "maxPostcopyBandwidth" | "stallTimeout"> {
  readonly postcopy?: PostcopyPolicy;
  readonly downtimeLimit?: number;
  readonly maxBandwidth?: number;
}

/**
 * Sees that the options of a live source can be.
 *
 * @throws {RangeError} for one that cannot
 */
export function checkLiveOptions(options: CheckedLiveOptions): void {
  const { postcopy, downtimeLimit, maxBandwidth, maxPostcopyBandwidth, stallTimeout } = options;
  if (typeof postcopy === "number" && !(Number.isInteger(postcopy) && postcopy > 0)) {
    throw new RangeError(`Rounds before postcopy must be a whole number from 1 on: ${postcopy}`);
  }
  const limits = { downtimeLimit, maxBandwidth, maxPostcopyBandwidth, stallTimeout };
  checkCarriers(options);
  for (const [name, value] of Object.entries(limits)) {
    if (value !== undefined && !(value >= 0)) {
      throw new RangeError(`${name} must be a number from 0 on: ${value}`);
    }
  }
}
