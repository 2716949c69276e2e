/** A migration's figures, as QEMU's source works them out. */

import { type MigrationInfo, queryMigrate } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";

/**
 * Asks a source for its statistics after the end. It says that it completed before it works out how
 * long it took.
 */
export async function finalInfo(source: Qemu): Promise<MigrationInfo> {
  while (true) {
    const info = await queryMigrate(source);
    if (info["total-time"] !== 0) return info;
  }
}
