// deno-lint-ignore-file no-console -- says which tests are skipped, and why

/**
 * Tests that cannot run everywhere: each is registered with the reason why it cannot run here, if
 * there is one. A skipped test is reported by Deno as ignored, and by one line
 * `skipped (KIND): NAME: REASON`, which .ci/run reads.
 *
 * ```ts ignore
 * testUnless(firstOf(needsRoot(), needsCommand("ip", "iproute2")), "veth pair does …", async () => {
 *   …
 * });
 * ```
 *
 * @module
 */

import { findCommand } from "../../tools/find_command.ts";
import { findRecording } from "../../tools/recordings.ts";

/** Why a test does not run; .ci/run accepts no "missing package". */
export type SkipKind = "missing package" | "no permission" | "no recordings" | "no support";

/** One reason to skip a test. */
export interface SkipReason {
  /** What kind of thing is missing. */
  readonly kind: SkipKind;
  /** What is missing, and what to do about it, without a full stop. */
  readonly text: string;
}

/** Makes a reason to skip a test. */
export function skipReason(kind: SkipKind, text: string): SkipReason {
  return { kind, text };
}

/**
 * Registers a test, or reports it as skipped.
 *
 * @param reason Why it cannot run here; undefined when it can.
 * @param name A sentence: the symbol, then its behaviour.
 * @param fn The test.
 */
export function testUnless(
  reason: SkipReason | undefined,
  name: string,
  fn: (t: Deno.TestContext) => void | Promise<void>,
): void {
  if (reason !== undefined) console.log(`skipped (${reason.kind}): ${name}: ${reason.text}`);
  Deno.test({ name, ignore: reason !== undefined, fn });
}

/** The first reason that there is. */
export function firstOf(...reasons: (SkipReason | undefined)[]): SkipReason | undefined {
  return reasons.find((reason) => reason !== undefined);
}

/**
 * The need for a command.
 *
 * @param command File name searched in PATH (and /usr/sbin, /sbin), or an absolute path.
 * @param debianPackage The package that has it.
 */
export function needsCommand(command: string, debianPackage: string): SkipReason | undefined {
  if (findCommand(command) !== undefined) return undefined;
  return skipReason("missing package", `No ${command}, install Debian's ${debianPackage}`);
}

/** The need to be root. */
export function needsRoot(): SkipReason | undefined {
  if (Deno.uid() === 0) return undefined;
  return skipReason("no permission", `Needs root, this is user: ${Deno.uid()}`);
}

/**
 * The need for a recording of real QEMU.
 *
 * @param path Such as `capture-qemu72.bin.zst`.
 */
export function needsRecording(path: string): SkipReason | undefined {
  if (findRecording(path) !== undefined) return undefined;
  const versions = path.match(/(?<=qemu|to-)\d+/g)!.map((digits) => digits.replace(/.$/, ".$&"));
  const needed = [...new Set(versions)].map((version) => `QEMU ${version}`).join(" and ");
  return skipReason(
    "no recordings",
    `No recording of ${needed}: the set-up records, as root, the installed QEMU and that in QEMU_SYSTEM`,
  );
}
