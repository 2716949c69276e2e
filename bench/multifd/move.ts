/** One move, by whichever pair. */

import { WORKING_SET_ADDRESS } from "../../qemu/bare_machine.ts";
import type { QemuBinary } from "../../qemu/qemu_binary.ts";
import { warmPages } from "../support/warm_memory.ts";
import type { DestinationEnd, SourceEnd } from "./ends.ts";
import { startOurDestination, startOurSource } from "./our_ends.ts";
import type { Move, MoveFigures, Pair } from "./point.ts";
import { startQemuDestination, startQemuSource } from "./qemu_ends.ts";

/** What pairs with a QEMU need. */
export interface Peers {
  readonly binary: QemuBinary;
  /** The guest at rest as an image, for `serve`. */
  readonly image: string;
  /** A digest of its memory. */
  readonly imageDigest: string;
}

async function startSource(pair: Pair, move: Move, peers: Peers): Promise<SourceEnd> {
  switch (pair) {
    case "ours":
      return await startOurSource(move);
    case "serve-qemu":
      return await startOurSource(move, peers.image);
    default:
      return await startQemuSource(move, peers.binary);
  }
}

async function startDestination(pair: Pair, move: Move, peers: Peers): Promise<DestinationEnd> {
  switch (pair) {
    case "ours":
      return await startOurDestination(move, 0);
    case "qemu-ours":
      return await startOurDestination(move, WORKING_SET_ADDRESS);
    default:
      return await startQemuDestination(move, peers.binary);
  }
}

/**
 * Starts both ends and moves the memory.
 *
 * @param expected digest of the content
 * @throws {Error} when either end fails, or a byte is wrong
 */
export async function moveBy(
  pair: Pair,
  move: Move,
  peers: Peers,
  expected: string,
): Promise<MoveFigures> {
  await using source = await startSource(pair, move, peers);
  await using destination = await startDestination(pair, move, peers);
  if (pair === "ours" || pair === "qemu-ours") warmPages(move.size);
  const before = await source.cpu();
  const [{ milliseconds, transferred, written }] = await Promise.all([
    source.move(destination.address),
    destination.arrived(),
  ]);
  const gigabytes = move.size / 1e9;
  const figures: MoveFigures = {
    rate: move.size / milliseconds * 1000,
    transferred,
    ...written === undefined ? {} : { written: written / move.rate },
    sourceCpu: (await source.cpu() - before) / gigabytes,
    destinationCpu: await destination.cpu() / gigabytes,
  };
  if (!move.compares) return figures;
  const wanted = pair === "serve-qemu"
    ? peers.imageDigest
    : pair === "ours" && move.rate === 0
    ? expected
    : await source.digest();
  const found = await destination.digest();
  if (wanted === undefined || found === wanted) return figures;
  throw new Error(`Memory differs from what was sent: ${found}, not ${wanted}`);
}
