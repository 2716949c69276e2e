/** Whether a migration may end in postcopy, where its destination cannot take that behind what came before. */

import { noPostcopy } from "../outgoing/multifd_agreement.ts";
import type { PostcopyPolicy } from "./convergence.ts";

/**
 * Returns the policy by which to go on: postcopy cannot follow multifd everywhere, and where it only may come it is
 * left out then.
 *
 * @param policy as it was asked for
 * @param destination whether it takes postcopy
 * @param machine the machine type
 * @param note tells the user what is left out
 * @throws {MigrationError} `UNSUPPORTED` where it must come
 */
export function possiblePolicy(
  policy: PostcopyPolicy,
  { mayPostcopy }: { readonly mayPostcopy: boolean },
  machine: string,
  note: ((text: string) => void) | undefined,
): PostcopyPolicy {
  if (mayPostcopy || policy === "never") return policy;
  if (policy !== "auto") throw noPostcopy(machine, "use --postcopy never");
  note?.(noPostcopy(machine, "it is precopy to the end").message);
  return "never";
}
