/** The memory of a guest that has booted Linux and done some work, as a file. */

import { Qemu } from "../../qemu/qemu.ts";
import type { QemuBinary } from "../../qemu/qemu_binary.ts";
import { atExit } from "../support/at_exit.ts";
import { buildInitramfs, READY_LINE } from "./initramfs.ts";

/** Less does not hold the kernel, its initial file system twice, and work. */
const LEAST_SIZE = 128 * 2 ** 20;
/** Without the last word the initial file system would be a tmpfs, which takes but half of the memory. */
export const KERNEL_WORDS = "console=ttyS0 quiet panic=-1 rootfstype=ramfs";
/** Under TCG it takes some 10 s on the usual machine. */
const DEADLINE_MS = 120_000;

/**
 * Finds a kernel to boot.
 *
 * @param directories where to look, each of which may lack or hold no kernel
 * @returns the last by name, or undefined when there is none
 */
export function findKernel(directories: readonly string[] = ["/boot"]): string | undefined {
  for (const directory of directories) {
    try {
      const names = [...Deno.readDirSync(directory)].map(({ name }) => name);
      const kernels = names.filter((name) => name.startsWith("vmlinuz-")).sort();
      if (kernels.length > 0) return `${directory}/${kernels.at(-1)}`;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

/**
 * Boots a kernel in QEMU, lets the guest work, stops it, and leaves its memory in a file.
 *
 * @param path the file; it is made
 * @param size bytes of the guest's memory
 * @throws {RangeError} for less than 128 MiB
 * @throws {Error} when the guest does not come up, with what it said last
 */
export async function captureLinuxGuest(
  path: string,
  size: number,
  kernel: string,
  binary: QemuBinary,
): Promise<void> {
  if (size < LEAST_SIZE) {
    throw new RangeError(`A Linux guest needs at least 128 MiB: ${size}`);
  }
  const initrd = `${path}.initrd`;
  Deno.writeFileSync(initrd, buildInitramfs(size));
  try {
    const memory = `memory-backend-file,id=memory,size=${size},mem-path=${path},share=on`;
    await using qemu = await Qemu.start({
      binary,
      memoryMiB: size / 2 ** 20,
      args: [
        ...["-object", memory, "-machine", "memory-backend=memory"],
        ...["-kernel", kernel, "-initrd", initrd],
        ...["-append", KERNEL_WORDS],
      ],
    });
    const forget = atExit(() => Deno.kill(qemu.pid, "SIGKILL"));
    qemu.exited.finally(forget);
    await untilReady(qemu);
    await qemu.stop();
  } finally {
    Deno.removeSync(initrd);
  }
}

/**
 * Waits until a guest says that it is ready.
 *
 * @throws {Error} when it does not, with what it said last
 */
export async function untilReady({ serial }: Qemu): Promise<void> {
  const options = { deadlineMs: DEADLINE_MS };
  try {
    await serial.waitForLine("the end of its work", (text) => text === READY_LINE, options);
  } catch (cause) {
    const last = serial.lines.items.slice(-5).map(({ text }) => text.trim()).join("; ");
    throw new Error(`Linux guest did not come up: ${last}`, { cause });
  }
}
