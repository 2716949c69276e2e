/** What the source says on the main channel around the pages: the opening and the switchover. */

import { discardCommands } from "../migration/protocol/discard.ts";
import { joinPackage } from "../migration/protocol/package.ts";
import { StreamEncoder } from "../migration/protocol/stream_encoder.ts";
import type { Image } from "./image/image.ts";

/**
 * Values of the PINGs, as QEMU's source numbers them. The destination answers each with a PONG: the
 * first when the return path is open, the one in the package when the device state is loaded.
 */
export const PING = { RETURN_PATH: 1, DISCARDED: 2, LOADED: 3, RUNNING: 4 } as const;

/**
 * Encodes the stream from its header to the block list: all that a destination needs to prepare.
 *
 * @param image the machine
 */
export function encodeOpening(image: Image): Uint8Array {
  const stream = new StreamEncoder();
  const targetPageSize = image.targetPageSize;
  stream.header();
  stream.configuration(image.configuration);
  stream.command({ kind: "open-return-path" });
  stream.command({ kind: "ping", value: PING.RETURN_PATH });
  // QEMU compares the summary with the OR of its own blocks' page sizes, exactly.
  let pageSizeSummary = 0;
  for (const block of image.blocks) pageSizeSummary |= block.pageSize ?? targetPageSize;
  stream.command({ kind: "advise", ram: { pageSizeSummary, targetPageSize } });
  stream.deviceState(image.earlySections, 0, image.earlySections.length);
  const { id, instance, version } = image.ramSection;
  stream.sectionStart(id, "ram", instance, version);
  stream.blockList(image.blocks.reduce((total, block) => total + block.usedLength, 0));
  for (const { name, usedLength, pageSize } of image.blocks) {
    stream.blockEntry(
      pageSize === undefined ? { name, usedLength } : { name, usedLength, pageSize },
    );
  }
  stream.endOfSection();
  stream.sectionFooter(id);
  return stream.take();
}

/**
 * Encodes the switchover: from here on the guest runs at the destination.
 *
 * Every block is discarded whole, although nothing was sent: without a single discard a QEMU
 * destination refuses to run (facts section 4.2), and nothing precopied is left out this way.
 *
 * @param image the machine
 */
export function encodeSwitchover(image: Image): Uint8Array {
  const stream = new StreamEncoder();
  for (const { name, usedLength } of image.blocks) {
    for (const command of discardCommands(name, [{ start: 0, length: usedLength }])) {
      stream.command(command);
    }
  }
  stream.command({ kind: "ping", value: PING.DISCARDED });
  const contents = joinPackage({
    before: [{ kind: "listen" }],
    devices: image.deviceState,
    after: [{ kind: "ping", value: PING.LOADED }, { kind: "run" }],
  });
  stream.packaged(contents.length);
  stream.packagedData(contents, 0, contents.length);
  stream.command({ kind: "ping", value: PING.RUNNING });
  return stream.take();
}
