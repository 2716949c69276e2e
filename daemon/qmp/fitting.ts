/** Whether an image fits the machine of a QEMU that is to take it. */

import type { Image } from "../../image/image.ts";
import { formatBytes } from "../../migration/report/units.ts";
import { HUGE_PAGE_SIZES, type HugeBlocks } from "../../server/command/huge_pages_argument.ts";
import { MonitorError } from "./monitor_error.ts";
import type { RamBlock } from "./ram_blocks.ts";
import type { WaitingQemu } from "./waiting_qemu.ts";

/** What is looked at of an image. */
export type ImageMachine = Pick<Image, "machine" | "blocks" | "path">;

/**
 * Sees that a QEMU has the machine type and the RAM blocks of an image, as QEMU itself would only when they
 * come, and then ends.
 *
 * @throws {MonitorError} `UNFIT` naming what differs
 */
export function checkFits(
  image: ImageMachine,
  qemu: Pick<WaitingQemu, "machine" | "blocks">,
): void {
  const { machine, blocks } = qemu;
  // As QEMU compares them: as far as the name goes that comes.
  if (machine !== undefined && !machine.startsWith(image.machine)) {
    throw unfit(
      `QEMU has machine type ${machine}, the image ${image.machine}`,
      `start QEMU with -machine ${image.machine}`,
    );
  }
  if (blocks.length === 0) return;
  for (const { name, usedLength } of image.blocks) {
    const block = blocks.find((block) => block.name === name);
    if (block === undefined) {
      throw unfit(`QEMU lacks a RAM block of the image: ${name}`, SAME_DEVICES);
    }
    checkLength(block, usedLength);
  }
  const names = new Set(image.blocks.map(({ name }) => name));
  const more = blocks.filter(({ name }) => !names.has(name)).map(({ name }) => name);
  if (more.length > 0) {
    throw unfit(
      `QEMU has RAM blocks that the image lacks, whose pages nobody could send: ${more.join(", ")}`,
      SAME_DEVICES,
    );
  }
}

/**
 * The blocks that lie in huge pages at a QEMU, which compares that with what comes.
 *
 * @param said the blocks by the user's word, which holds; none when nothing was said
 * @throws {MonitorError} `UNFIT` for pages of a size that cannot be
 */
export function hugePagesAt(
  blocks: readonly RamBlock[],
  said: HugeBlocks,
): HugeBlocks {
  if (said.size > 0) return said;
  const large = blocks.filter(({ pageSize }) => pageSize > LARGEST_SMALL_PAGE);
  const strange = large.find(({ pageSize }) => !HUGE_PAGE_SIZES.includes(pageSize));
  if (strange !== undefined) {
    throw unfit(
      `QEMU has ${strange.name} in pages of ${formatBytes(strange.pageSize)}`,
      `use pages of ${HUGE_PAGE_SIZES.map(formatBytes).join(" or ")}, or no huge pages`,
    );
  }
  const sizes = new Set(large.map(({ pageSize }) => pageSize));
  const namesOf = (size: number) =>
    large.filter(({ pageSize }) => pageSize === size).map(({ name }) => name);
  return new Map([...sizes].map((size) => [size, namesOf(size)]));
}

/** Bytes: the largest page of a host that is no huge page, of arm64. */
const LARGEST_SMALL_PAGE = 65_536;

const SAME_DEVICES = "start QEMU with the same memory and devices as the one that was saved";

/**
 * Tables of the firmware can be resized, up to their total length; of others total and used are mostly the
 * same, and where they are not QEMU itself decides.
 */
function checkLength({ name, used, total }: RamBlock, wanted: number): void {
  const resizes = name.startsWith("/rom@") || used !== total;
  if (wanted === used || (resizes && wanted <= total)) return;
  throw unfit(
    `QEMU has ${formatBytes(used)} in RAM block ${name}, the image ${formatBytes(wanted)}`,
    SAME_DEVICES,
  );
}

function unfit(what: string, remedy: string): MonitorError {
  return new MonitorError("UNFIT", `${what}: nothing was changed there: ${remedy}`);
}
