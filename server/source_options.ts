/** How an image is migrated, as its owner says it. */

import type { Image } from "../image/image.ts";
import type { OrderOptions } from "./order/source_order.ts";
import { checkCarriers } from "./outgoing/carriers.ts";
import type { ServedAgain } from "./outgoing/fate.ts";
import type { OutgoingMemory, OutgoingOptions } from "./outgoing/outgoing_options.ts";

/** How to migrate. */
export interface SourceOptions extends OutgoingOptions, OrderOptions {
  /**
   * Whether a migration of this image goes on that another source began, for example one that was killed:
   * the destination is paused, and says what it lacks. Default false.
   */
  readonly recover?: boolean;
  /**
   * Milliseconds of a precopy over {@linkcode OutgoingOptions.multifd} after which the guest runs at the
   * destination and the rest follows on demand, as QEMU can from 10.1 on; Infinity: not before
   * {@linkcode Source.startPostcopy}. Default: there is no postcopy behind multifd, the guest runs there once all
   * of the image has come.
   */
  readonly postcopyAfter?: number;
  /**
   * Called when the destination is connected, and waited for before the guest may run there: for keeping where
   * lasts that it may, so that nobody starts it once more should this process be killed. What it throws ends
   * the migration, and the guest ran nowhere. Not called with `recover`.
   */
  readonly beforeRun?: () => void | Promise<void>;
  /**
   * How errors advise to serve the image again, looked at when there is one; default: in the words of `serve`.
   *
   * @internal
   */
  readonly again?: ServedAgain;
}

/** Milliseconds. */
const A_DAY = 86_400_000;

/**
 * Sees that the options of a source can be, beside those that others look at.
 *
 * @throws {RangeError} for one that cannot
 */
export function checkSourceOptions(options: SourceOptions): void {
  checkCarriers(options);
  const { postcopyAfter, multifd } = options;
  if (postcopyAfter === undefined) return;
  if (!(postcopyAfter >= 0 && (postcopyAfter <= A_DAY || postcopyAfter === Infinity))) {
    throw new RangeError(
      `postcopyAfter must be milliseconds from 0 to ${A_DAY}, or Infinity: ${postcopyAfter}`,
    );
  }
  if (multifd !== undefined) return;
  throw new RangeError(
    "postcopyAfter without multifd: without its channels all pages go on demand at once: leave it out, or " +
      `say how many channels there are: ${postcopyAfter}`,
  );
}

/** The UUID of an image's machine, where it says one: its stream does, or what libvirt wrote of the domain. */
export function uuidOf({ configuration, libvirt }: Image): Pick<OutgoingMemory, "uuid"> {
  const uuid = configuration.uuid?.toHex() ??
    /<uuid>([0-9a-f-]{36})<\/uuid>/i.exec(libvirt?.xml ?? "")?.[1];
  return uuid === undefined ? {} : { uuid };
}
