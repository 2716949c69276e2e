/** Whether a QEMU is new enough for a test, found out before the test is registered. */

import type { QemuBinary } from "../qemu/qemu_binary.ts";
import { type SkipReason, skipReason } from "../support/skip.ts";

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
  const [program, ...args] = binary.command;
  const { stdout } = await new Deno.Command(program!, {
    args: [...args, "-version"],
    stdin: "null",
    stderr: "null",
  }).output();
  const match = /version (\d+)\.(\d+)/.exec(new TextDecoder().decode(stdout));
  const [found, foundMinor] = [Number(match?.[1]), Number(match?.[2])];
  if (found > major || (found === major && foundMinor >= minor)) return undefined;
  const text = `No ${what} in QEMU before ${major}.${minor}, this is ${match?.[0] ?? "unknown"}; ` +
    "name a newer one in QEMU_SYSTEM";
  return skipReason("no support", text);
}
