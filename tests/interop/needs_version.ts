import type { QemuBinary } from "../../qemu/qemu_binary.ts";
import { type SkipReason, skipReason } from "../support/skip.ts";

/** Says why a QEMU is older than this version, such as 1001 for 10.1; undefined when it is not. */
export async function needsVersion(
  { command }: QemuBinary,
  least: number,
): Promise<SkipReason | undefined> {
  const [program, ...args] = command;
  const { stdout } = await new Deno.Command(program!, { args: [...args, "-version"] }).output();
  const found = /version (\d+)\.(\d+)/.exec(new TextDecoder().decode(stdout));
  if (found !== null && Number(found[1]) * 100 + Number(found[2]) >= least) return undefined;
  const wanted = `${Math.floor(least / 100)}.${least % 100}`;
  return skipReason("no support", `Needs QEMU ${wanted} or later, this is: ${found?.[0]}`);
}
