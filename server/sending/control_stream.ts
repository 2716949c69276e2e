/** What the source says on the main channel around the pages: the opening, the switchover, the end. */

import { pageSizeSummary } from "../../migration/memory/page_sizes.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import { discardCommands } from "../../migration/protocol/discard.ts";
import { EXTENSION_COOKIE } from "../../migration/protocol/extensions.ts";
import { joinPackage } from "../../migration/protocol/package.ts";
import type { BlockEntry } from "../../migration/protocol/ram.ts";
import type { Configuration } from "../../migration/protocol/configuration.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";

/**
 * Values of the PINGs, as QEMU's source numbers them, but for the first, which asks what the
 * destination understands beyond QEMU's protocol, and the last two, which are our own. The destination
 * answers each with a PONG: the first when the return path is open, the one in the package when the
 * device state is loaded.
 */
export const PING = {
  RETURN_PATH: EXTENSION_COOKIE,
  DISCARDED: 2,
  LOADED: 3,
  RUNNING: 4,
  PREPARED: 5,
  CHANNELS: 6,
} as const;

/** Encodes the beginning of the stream: its header, the machine, and the question who listens. */
export function encodeGreeting(configuration: Configuration): Uint8Array {
  const stream = new StreamEncoder();
  stream.header();
  stream.configuration(configuration);
  stream.command({ kind: "open-return-path" });
  stream.command({ kind: "ping", value: PING.RETURN_PATH });
  return stream.take();
}

/** What a destination is to prepare for. */
export interface OpeningOptions {
  /** Postcopy; default true. */
  readonly postcopy?: boolean;
  /** Multifd, whose channels it waits for where a record says so; default false. */
  readonly multifdRecords?: boolean;
}

/**
 * Encodes what follows the greeting, up to the block list: all that a destination needs to prepare.
 *
 * @param machine what migrates
 * @param extensions what the stream does beyond QEMU's protocol, all of which the destination listed
 * @param options what else the destination is to prepare for
 */
export function encodeOpening(
  machine: StreamMachine,
  extensions: readonly string[],
  { postcopy = true, multifdRecords = false }: OpeningOptions = {},
): Uint8Array {
  const { targetPageSize, earlySections } = machine;
  const stream = new StreamEncoder(targetPageSize);
  if (extensions.length > 0) stream.command({ kind: "extensions", names: extensions });
  const summary = pageSizeSummary(machine.blocks, targetPageSize);
  const ram = { pageSizeSummary: summary, targetPageSize };
  if (postcopy) stream.command({ kind: "advise", ram });
  if (earlySections !== undefined) stream.deviceState(earlySections, 0, earlySections.length);
  const { id, instance, version } = machine.ramSection;
  stream.sectionStart(id, "ram", instance, version);
  stream.blockList(machine.blocks.reduce((total, block) => total + block.usedLength, 0));
  for (const { name, usedLength, pageSize } of machine.blocks) {
    stream.blockEntry(
      pageSize === undefined ? { name, usedLength } : { name, usedLength, pageSize },
    );
  }
  if (multifdRecords) stream.multifdFlush();
  stream.endOfSection();
  stream.sectionFooter(id);
  return stream.take();
}

/**
 * Discards every block whole, although nothing was sent: without a single discard a QEMU destination
 * refuses to run (docs/protocol.md section 4.2), and nothing precopied is left out this way.
 */
export function wholeDiscards(blocks: readonly BlockEntry[]): DiscardCommand[] {
  return blocks.flatMap(({ name, usedLength }) =>
    discardCommands(name, [{ start: 0, length: usedLength }])
  );
}

/**
 * Encodes discards and, behind them, a PING.
 *
 * @param ping one of {@linkcode PING}: answered when the pages are forgotten; none unless said
 */
export function encodeDiscards(
  discards: readonly DiscardCommand[],
  ping?: number,
): Uint8Array<ArrayBuffer> {
  const stream = new StreamEncoder();
  for (const command of discards) stream.command(command);
  if (ping !== undefined) stream.command({ kind: "ping", value: ping });
  return stream.take();
}

/** Encodes a PING alone. */
export function encodePing(value: number): Uint8Array<ArrayBuffer> {
  const stream = new StreamEncoder();
  stream.command({ kind: "ping", value });
  return stream.take();
}

/**
 * Encodes the switchover to postcopy: from here on the guest runs at the destination.
 *
 * @param deviceState SECTION_FULLs
 */
export function encodeSwitchover(deviceState: Uint8Array): Uint8Array {
  const stream = new StreamEncoder();
  const contents = joinPackage({
    before: [{ kind: "listen" }],
    devices: deviceState,
    after: [{ kind: "ping", value: PING.LOADED }, { kind: "run" }],
  });
  stream.packaged(contents.length);
  stream.packagedData(contents, 0, contents.length);
  stream.command({ kind: "ping", value: PING.RUNNING });
  return stream.take();
}

/** Encodes the question which pages of each block a paused destination has. */
export function encodeReceiveBitmapRequests(
  blocks: readonly BlockEntry[],
): Uint8Array<ArrayBuffer> {
  const stream = new StreamEncoder();
  for (const { name } of blocks) stream.command({ kind: "receive-bitmap", block: name });
  return stream.take();
}

/** Encodes the word that a paused migration goes on; all receive bitmaps were heard. */
export function encodeResume(): Uint8Array<ArrayBuffer> {
  const stream = new StreamEncoder();
  stream.command({ kind: "resume" });
  return stream.take();
}
