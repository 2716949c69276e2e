/** Handing a guest back to a source that keeps it still, waiting for a receiver that cannot be. */

import { MigrationError } from "../../migration/migration_error.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import type { CompleteMachine } from "../connecting/late_source.ts";

/**
 * Says of a machine that every page of it is here. No image comes of it: a source that is told so has
 * nothing left to send, and ends.
 *
 * @param told called when it has been told
 */
export function allHere(machine: StreamMachine, told: () => void): CompleteMachine {
  const sizes = machine.blocks.map(({ name, usedLength }) => ({ name, usedLength }));
  const layout = new RamLayout(sizes, machine.targetPageSize);
  const received = new PageBitmap(layout.pageLimit);
  for (const { firstPage, pageCount } of layout.blocks) received.fill(firstPage, pageCount);
  const blocks = sizes.map(({ name, usedLength }) => ({ name, length: usedLength }));
  return { machine, blocks: { mapped: { blocks }, received: received.buffer }, told };
}

/** The error that there can be no image; `what` came of that. */
export function notWhole(what: string): MigrationError {
  return new MigrationError("CONNECTION_LOST", `${what} its device state had not come whole`);
}
