/** Waiting until a destination approves the switchover: QEMU's capability switchover-ack, at the source. */

import { MigrationError } from "../../migration/migration_error.ts";
import { APPROVAL_EXTENSION } from "../../migration/protocol/extensions.ts";
import {
  expectsApproval,
  type SwitchoverAckInit,
  switchoverAckInit,
  type SwitchoverAckOptions,
} from "../../migration/protocol/switchover_ack.ts";
import { PING } from "../sending/control_stream.ts";
import type { Answers } from "./answers.ts";

/** The link to a destination that was told what comes. */
export interface ApprovingLink {
  readonly answers: Answers;
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** Ends the link. */
  fail(error: unknown): void;
}

/** How a source waits. */
export interface ApprovalOptions extends SwitchoverAckOptions {
  /** Milliseconds after which a destination that says nothing counts as stalled. */
  readonly stallTimeout?: number;
}

const DEFAULT_TIMEOUT = 30_000;

/**
 * Waits until the destination approves, if the options say that it will. QEMU waits for ever; here the migration
 * ends when it does not come in time, for nothing that is sent here would have a device there get ready later.
 *
 * @param link ends with what is wrong, also before anybody waits for the result
 * @param machine the machine type
 * @returns a promise that resolves at once where no approval is expected
 */
export async function switchoverApproved(
  link: ApprovingLink,
  machine: string,
  options: ApprovalOptions,
): Promise<void> {
  const init = switchoverAckInit(options);
  if (init === undefined) return;
  try {
    await approval(link, machine, init, options.stallTimeout ?? DEFAULT_TIMEOUT);
  } catch (error) {
    link.fail(error);
    throw error;
  }
}

async function approval(
  { answers, signal }: ApprovingLink,
  machine: string,
  init: SwitchoverAckInit,
  patience: number,
): Promise<void> {
  if (!await answers.heard(PING.RETURN_PATH, patience, signal)) throw notApproved(patience);
  const ours = answers.extensions.length > 0;
  if (ours && !answers.extensions.includes(APPROVAL_EXTENSION)) throw off();
  if (!ours && !expectsApproval(machine, init)) return;
  if (!await answers.heard("approved", patience, signal)) throw notApproved(patience);
}

function off(): MigrationError {
  return new MigrationError(
    "UNSUPPORTED",
    "Destination has switchover-ack off: give --switchover-ack there too, or leave it out here",
  );
}

function notApproved(milliseconds: number): MigrationError {
  return new MigrationError(
    "STALLED",
    `Destination has not approved the switchover for ${
      milliseconds / 1000
    } s: turn the capability ` +
      "switchover-ack on there (one of ours: --switchover-ack), or leave --switchover-ack out here",
  );
}
