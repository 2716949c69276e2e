/** Whether a QEMU can stand at the ends of this benchmark. */

import { type QemuBinary, whyNoQemu } from "../../qemu/qemu_binary.ts";
import { qemuVersion } from "../support/machine.ts";

/** The first version without the capability `compress`. */
const WITHOUT_COMPRESSION = [9, 1] as const;

/**
 * Finds out whether a QEMU starts, compresses pages, and sees the files of this process.
 *
 * @returns why not, with what to do about it; undefined when all is well
 */
export async function whyNoCompressingQemu(binary: QemuBinary): Promise<string | undefined> {
  const reason = await whyNoQemu(binary);
  if (reason !== undefined) return reason;
  const advice = "name an older one in QEMU_SYSTEM, such as Debian 12's 7.2";
  if (binary.root !== "/") return `QEMU sees other files in its root ${binary.root}: ${advice}`;
  const version = await qemuVersion(binary.command);
  const [major = 0, minor = 0] = version?.split(".").map(Number) ?? [];
  const [last, first] = WITHOUT_COMPRESSION;
  if (major < last || (major === last && minor < first)) return undefined;
  return `QEMU ${version} cannot compress pages any more: ${advice}`;
}
