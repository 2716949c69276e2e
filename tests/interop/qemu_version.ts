/** Whether a QEMU is new enough for a test, found out before the test is registered. */

import { type QemuBinary, versionOf } from "../../qemu/qemu_binary.ts";
import { type SkipReason, skipReason } from "../support/skip.ts";

/** The need for a QEMU that has the capability `compress`, which went with 9.1. */
export async function needsCompress(binary: QemuBinary): Promise<SkipReason | undefined> {
  const [found, foundMinor] = await versionOf(binary) ?? [NaN, NaN];
  if (found < 9 || (found === 9 && foundMinor === 0)) return undefined;
  const text = `No compress in QEMU since 9.1, this is ${found}.${foundMinor}`;
  return skipReason("no support", text);
}

/**
 * The need for a version of QEMU; asked of one that starts.
 *
 * @param what what older ones do not have, for example `"mapped-ram"`
 */
export async function needsVersion(
  binary: QemuBinary,
  major: number,
  minor: number,
  what: string,
): Promise<SkipReason | undefined> {
  const [found, foundMinor] = await versionOf(binary) ?? [NaN, NaN];
  if (found > major || (found === major && foundMinor >= minor)) return undefined;
  const text = `No ${what} in QEMU before ${major}.${minor}, this is ${found}.${foundMinor}; ` +
    "name a newer one in QEMU_SYSTEM";
  return skipReason("no support", text);
}
