/** What a PING is answered with. */

import { EXTENSION_COOKIE, EXTENSIONS } from "../../migration/protocol/extensions.ts";
import type { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";

/** Encodes the answer: the PONG, and before it what is understood here for a source that asks so. */
export function encodePingAnswer(encoder: ReturnPathEncoder, value: number): void {
  if (value === EXTENSION_COOKIE) encoder.extensions(EXTENSIONS);
  encoder.pong(value);
}
