/** What a PING is answered with. */

import {
  APPROVAL_EXTENSION,
  EXTENSION_COOKIE,
  EXTENSIONS,
  multifdExtension,
} from "../../migration/protocol/extensions.ts";
import type { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";

/** What a destination has on that its source must have on too. */
export interface BothEnds {
  /** Channels of multifd that are expected; default none. */
  readonly multifdChannels?: number | undefined;
  /** Whether the switchover will be approved; default false. */
  readonly approves?: boolean;
}

/**
 * Encodes the answer: the PONG, and before it what is understood here for a source that asks so.
 *
 * @param both what both ends must have on
 */
export function encodePingAnswer(
  encoder: ReturnPathEncoder,
  value: number,
  { multifdChannels, approves = false }: BothEnds = {},
): void {
  if (value === EXTENSION_COOKIE) {
    const multifd = multifdChannels === undefined ? [] : [multifdExtension(multifdChannels)];
    encoder.extensions([...EXTENSIONS, ...multifd, ...approves ? [APPROVAL_EXTENSION] : []]);
  }
  encoder.pong(value);
}
