/** Whether certificates can be made here. */

import { needsCommand, type SkipReason } from "../support/skip.ts";

/** The need for the command with which the certificates are made. */
export function needsOpenssl(): SkipReason | undefined {
  return needsCommand("openssl", "openssl");
}
