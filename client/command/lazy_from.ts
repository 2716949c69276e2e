/** The options of `lazy` for an image that is at a page server. */

import {
  type Options,
  type OptionValues,
  UsageError,
  waitArgument,
} from "../../migration/command/arguments.ts";
import { STALL_OPTION, stallTimeoutArgument } from "../../migration/command/stall_timeout.ts";
import { TLS_CLIENT_OPTIONS, tlsClientArguments } from "../../migration/command/tls_options.ts";
import type { LazyOptions } from "../lazy/lazy.ts";
import { parsePageAddress } from "../lazy/remote/page_address.ts";

/** The options, for `parseCommand`. */
export const FROM_OPTIONS = {
  from: {
    value: "ADDRESS/NAME",
    help: "instead of FILE: an image at a page server (serve --listen), tcp:HOST:PORT/NAME or " +
      "unix:PATH/NAME; a copy of it is made in memory as it comes, one for all VMs",
  },
  "lost-after": {
    value: "SECONDS",
    help:
      "with --from: when no connection can be made for so long, pages that have not come cannot " +
      "be had, see --on-loss; it is tried again all the same; default 10",
  },
  ...STALL_OPTION,
  ...TLS_CLIENT_OPTIONS,
} as const satisfies Options;

/**
 * Reads them.
 *
 * @returns undefined when pages come from a file
 * @throws {UsageError} for what would be passed over
 * @throws {SocketAddressError} for an address that cannot be
 */
export function fromArguments(
  values: OptionValues<typeof FROM_OPTIONS>,
): Pick<LazyOptions, "from" | "tls" | "stallTimeout" | "lostAfter"> | undefined {
  const tls = tlsClientArguments(values);
  const { from, "lost-after": lostAfter, "stall-timeout": stallTimeout } = values;
  if (from === undefined) {
    const alone = Object.keys(FROM_OPTIONS).find((name) =>
      values[name as keyof typeof FROM_OPTIONS] !== undefined
    );
    if (alone === undefined) return undefined;
    throw new UsageError(`--${alone} goes with --from: leave it out, or say where the image is`);
  }
  checkAddress(from);
  return {
    from,
    tls,
    stallTimeout: stallTimeoutArgument(stallTimeout),
    ...lostAfter === undefined ? {} : { lostAfter: waitArgument("lost-after", lostAfter) },
  };
}

function checkAddress(from: string): void {
  try {
    parsePageAddress(from);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}
