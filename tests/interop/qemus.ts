/**
 * The QEMU that the interop tests run against: Debian's, or the one named in `QEMU_SYSTEM`.
 *
 * @module
 */
import { needsRoot, type SkipReason, skipReason } from "../support/skip.ts";
import { type QemuBinary, qemuFromEnvironment, whyNoQemu } from "../../qemu/qemu_binary.ts";

/** A QEMU to test with, or the reason why it cannot be. */
export interface TestedQemu {
  /** Short name for test names. */
  readonly name: string;
  readonly binary: QemuBinary;
  readonly skip: SkipReason | undefined;
}

/**
 * Gives the QEMUs to test with: that of `QEMU_SYSTEM` when set, else `/usr/bin/qemu-system-x86_64`.
 * `deno task test:peers` runs the tests with a newer one.
 *
 * @returns At least one; each says whether it can run here. Postcopy needs root for userfaultfd.
 */
export async function testedQemus(): Promise<TestedQemu[]> {
  const binary = qemuFromEnvironment();
  const reason = await whyNoQemu(binary);
  return [{
    name: binary.command.join(" "),
    binary,
    skip: reason === undefined ? needsRoot() : skipReason("missing package", reason),
  }];
}
