/** The options by which both ends say that QEMU's capability switchover-ack is on at the other. */

import type { SwitchoverAckOptions } from "../protocol/switchover_ack.ts";
import { choiceArgument, type Options, type OptionValues, UsageError } from "./arguments.ts";

const LEGACY = "switchover-ack-legacy";

const LEGACY_OPTION = {
  value: "on|off",
  help:
    "QEMU's property of that name: on for machine types up to 11.0, which is the default; to be said " +
    "for one without a version on a QEMU up to 11.0",
} as const;

/** Of a command that sends. */
export const SWITCHOVER_ACK_OPTIONS = {
  "switchover-ack": {
    help:
      "hand the guest over once the destination approves: its capability switchover-ack (QEMU 8.1 and " +
      "later) is on",
  },
  [LEGACY]: LEGACY_OPTION,
} as const satisfies Options;

/** Of a command that receives. */
export const APPROVAL_OPTIONS = {
  "switchover-ack": {
    help:
      "approve the switchover, for which a source waits whose capability switchover-ack is on (QEMU 8.1 " +
      "and later); one where it is off may fail of that",
  },
  [LEGACY]: LEGACY_OPTION,
} as const satisfies Options;

/**
 * Reads them.
 *
 * @throws {UsageError} for what would be passed over, or cannot be
 */
export function switchoverAckArguments(
  values: OptionValues<typeof SWITCHOVER_ACK_OPTIONS>,
): SwitchoverAckOptions {
  const { "switchover-ack": switchoverAck = false, [LEGACY]: legacy } = values;
  if (legacy === undefined) return switchoverAck ? { switchoverAck } : {};
  const on = choiceArgument(LEGACY, legacy, ["on", "off"]) === "on";
  if (switchoverAck) return { switchoverAck, switchoverAckLegacy: on };
  throw new UsageError(
    `--${LEGACY} ${legacy} without --switchover-ack: say that too, or leave it out`,
  );
}
