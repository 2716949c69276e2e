/** A source that resumes a migration that is over: the end was said, or could not be, and it has not heard it. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { linger } from "../../channel/linger.ts";
import { FirstBytes } from "../../channel/first_bytes.ts";
import { ReceivingEnd } from "../../channel/receiving_end.ts";
import { FROM_SOURCE } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { type WaitOptions, waitReady } from "../../ffi/wait_ready.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { Command } from "../../migration/protocol/command.ts";
import { MAX_ELEMENT_BYTES } from "../../migration/protocol/constants.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import { IgnoreStream } from "../../migration/protocol/stream.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { ReceivedBitmaps } from "../return_path/received_bitmaps.ts";

/** Milliseconds for its first word, which comes at once, and for which it may say or take nothing then. */
const FIRST_WORD = 2_000;
const PATIENCE = 10_000;

/** What is said of its blocks; their lengths in bytes. */
export interface HereBlocks {
  readonly mapped: {
    readonly blocks: readonly { readonly name: string; readonly length: number }[];
  };
  /** Shared memory of the bitmap of pages in place. */
  readonly received: SharedArrayBuffer;
}

/** A machine all of whose memory is here. */
export interface CompleteMachine {
  readonly machine: StreamMachine;
  readonly blocks: HereBlocks;
  /** Called when a source has been told so. */
  readonly told?: () => void;
}

/**
 * How a migration ended: with all of the memory here, of which a QEMU wants to be told in detail, or with a
 * guest that does not run here and never will.
 */
export type Ending = CompleteMachine | "complete" | "failed";

/** What is said to it. */
class LateAnswers extends IgnoreStream {
  /** True when it has heard all that it will. */
  ended = false;
  readonly #layout: RamLayout;
  readonly #bitmaps: ReceivedBitmaps;
  readonly #encoder = new ReturnPathEncoder();

  constructor({ machine, blocks }: CompleteMachine) {
    super();
    const { targetPageSize } = machine;
    this.#layout = new RamLayout(
      blocks.mapped.blocks.map(({ name, length }) => ({ name, usedLength: length })),
      targetPageSize,
    );
    const received = new PageBitmap(this.#layout.pageLimit, blocks.received);
    this.#bitmaps = new ReceivedBitmaps(this.#layout, received);
  }

  override command(command: Command): void {
    switch (command.kind) {
      case "receive-bitmap":
        return this.#want(command.block);
      case "resume":
        return this.#encoder.resumeAck(1);
      case "ping":
        return this.#encoder.pong(command.value);
    }
  }

  override endOfStream(): void {
    this.#encoder.shut(0);
    this.ended = true;
  }

  /** What is to be sent by now: bitmaps first, for nobody asks for one behind RESUME. */
  *pieces(): Generator<Uint8Array> {
    while (this.#bitmaps.pending) yield this.#bitmaps.next();
    yield this.#encoder.take();
  }

  #want(name: string): void {
    const index = this.#layout.blocks.findIndex((block) => block.name === name);
    if (index < 0) throw new MigrationError("BAD_PEER", `Source asks for another's block: ${name}`);
    this.#bitmaps.want(index);
  }
}

/**
 * Tells a source that resumes how the migration ended: else it would wait for ever. Whoever is no such source
 * is told nothing. Where all memory is here, or no guest runs, the main thread cannot be one that waits for a
 * page, so this is its work.
 *
 * @param connection closed by the caller
 * @param ending how it ended
 * @param signal ends this
 * @throws what ends it early, which is nobody's concern
 */
export async function tellEnding(
  connection: ConnectionInit,
  ending: Ending,
  signal: AbortSignal,
): Promise<void> {
  const wait = { signal, timeout: PATIENCE };
  const first = new FirstBytes(connection);
  const soon = { signal, timeout: FIRST_WORD };
  while (first.listen() === "silent") {
    await waitReady(first.fd, PollEvents.IN, "a late source", soon);
  }
  if (first.speaker !== "recovery") return;
  if (ending === "failed") tellShut(first.connection, 1);
  else if (ending === "complete") tellShut(first.connection, 0);
  else await tellComplete(first.connection, ending, wait);
  await linger(connection);
}

/** Says how it ended, without the handshake of a recovery. */
function tellShut(connection: ConnectionInit, value: number): void {
  const encoder = new ReturnPathEncoder();
  encoder.shut(value);
  new SendingEnd(connection, FROM_SOURCE.RETURN_PATH).sendMessage(encoder.take());
}

/** Says that every page is here, and the end once more. */
async function tellComplete(
  connection: ConnectionInit,
  complete: CompleteMachine,
  wait: WaitOptions,
): Promise<void> {
  const answers = new LateAnswers(complete);
  const { targetPageSize, ramSection } = complete.machine;
  const resumed = { resumed: true, targetPageSize, ramSectionId: ramSection.id };
  const decoder = new StreamDecoder(answers, resumed);
  const bytes = new Uint8Array(MAX_ELEMENT_BYTES);
  const from = new ReceivingEnd(connection, FROM_SOURCE.MAIN, { bytes, capacity: bytes.length });
  const to = new SendingEnd(connection, FROM_SOURCE.RETURN_PATH);
  while (!answers.ended) {
    if (from.receive() > 0) {
      from.decode(decoder);
      for (const piece of answers.pieces()) await to.sendAll(piece, wait);
    } else if (from.ended) return;
    else await waitReady(connection.fd, PollEvents.IN, "a late source", wait);
  }
  complete.told?.();
}
