/** One channel of multifd at the source, on a pool's thread: makes packets, and sends them. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { TO_DESTINATION } from "../../channel/role.ts";
import type { SteppedSender } from "../../channel/stepped_sender.ts";
import { openStreamCompressor, type StreamCompressor } from "../../ffi/compression/stream_codec.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { Gather } from "../../ffi/gather.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import {
  MAX_MULTIFD_PAYLOAD,
  MULTIFD_INIT_BYTES,
  MULTIFD_METHOD,
  MULTIFD_PACKET_MEMORY,
  type MultifdMethod,
} from "../../migration/protocol/multifd.ts";
import {
  multifdHeadBytes,
  writeMultifdHead,
  writeMultifdInit,
  writeMultifdOffset,
} from "../../migration/protocol/multifd_head.ts";
import { encodeName } from "../../migration/protocol/names.ts";
import { MeasuredTask } from "../../migration/threads/measured_task.ts";
import {
  SequenceTask,
  type Steps,
  type Task,
  type TaskPoll,
  type Tell,
} from "../../migration/threads/task.ts";
import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import { WorkRing } from "../../migration/threads/work_ring.ts";
import { PageLocator, type PageSource } from "../../pages/page_locator.ts";
import { Turns } from "../sending/turns.ts";
import { type ChannelsInit, PacketLayout, PacketWord } from "./packet_slots.ts";

/** What a channel's task is made from. */
export interface MultifdSenderInit extends ChannelsInit {
  /** Where to, owned elsewhere. */
  readonly connection: ConnectionInit;
  /** The channel's number, from 0. */
  readonly channel: number;
  /** Names of the blocks, in their order. */
  readonly blocks: readonly string[];
  /** Bytes of a target page. */
  readonly targetPageSize: number;
  /** Where the pages lie. */
  readonly pages: PageSource;
  /** Milliseconds without progress after which the destination counts as stalled. */
  readonly stallTimeout: number;
}

/** What it tells the control plane: that it can be given packets. */
export type MultifdMessage = "entered";

/** Sending the packets of one channel. */
export const MULTIFD_TASK: TaskKind<MultifdSenderInit, MultifdMessage> = {
  thread: new URL("./multifd_worker.ts", import.meta.url),
  name: "multifd",
  urgent: false,
  calculates: true,
};

/** Makes the task. */
export function multifdTask(
  init: MultifdSenderInit,
  tell: Tell<MultifdMessage>,
  poll: TaskPoll,
): Task {
  const sender = new MultifdSender(init, poll);
  sender.ring.enter();
  tell("entered");
  const task = new SequenceTask(sender.run(), sender);
  let before = 0;
  return new MeasuredTask(task, (nanoseconds) => {
    sender.ring.addCpuTime(nanoseconds - before);
    before = nanoseconds;
  });
}

/** Bytes of the room in which packets are made: their pages, copied to be compressed, and what that gives. */
const ROOM_BYTES = MULTIFD_PACKET_MEMORY + MAX_MULTIFD_PAYLOAD;

/**
 * Sends what it is given, in the order in which it is given it: each packet in one call, its pages from where
 * they lie unless they are compressed. Then they are copied before, for the guest may write to them meanwhile.
 */
export class MultifdSender implements Disposable {
  /** Where the packets come from. */
  readonly ring: WorkRing;
  readonly #init: MultifdSenderInit;
  readonly #layout: PacketLayout;
  readonly #locator: PageLocator;
  readonly #names: readonly Uint8Array[];
  readonly #turns: Turns;
  readonly #sender: SteppedSender;
  readonly #gather: Gather;
  readonly #stack = new DisposableStack();
  readonly #head: MappedMemory;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #method: MultifdMethod;
  readonly #compressor: StreamCompressor | undefined;
  readonly #room: MappedMemory | undefined;

  /**
   * @param init what the control plane prepared
   * @param poll the task's
   * @throws {CompressionError} when this host cannot compress so
   */
  constructor(init: MultifdSenderInit, poll: TaskPoll) {
    this.#init = init;
    const { targetPageSize, channel, settings: { compression } } = init;
    this.ring = new WorkRing(init.shape, init.rings, channel);
    this.#layout = new PacketLayout(targetPageSize);
    this.#locator = new PageLocator(init.pages);
    this.#names = init.blocks.map(encodeName);
    this.#gather = new Gather(this.#layout.pages + 2);
    using stack = new DisposableStack();
    this.#head = stack.use(
      MappedMemory.anonymous(multifdHeadBytes(targetPageSize) + MULTIFD_INIT_BYTES),
    );
    this.#bytes = this.#head.bytes();
    this.#method = MULTIFD_METHOD.NONE;
    if (compression !== undefined) {
      const { method, level } = compression;
      this.#method = method === "zlib" ? MULTIFD_METHOD.ZLIB : MULTIFD_METHOD.ZSTD;
      this.#compressor = stack.use(openStreamCompressor(method, level));
      this.#room = stack.use(MappedMemory.anonymous(ROOM_BYTES));
    }
    this.#turns = new Turns(poll, {
      events: [this.ring.wakeFd],
      stopped: () => this.ring.stopped,
      check: () => this.#locator.check(),
      stallTimeout: init.stallTimeout,
    });
    this.#sender = this.#turns.sender(init.connection, TO_DESTINATION.MULTIFD);
    this.#stack = stack.move();
  }

  /**
   * Sends until the rings are stopped.
   *
   * @throws {MigrationError} when the destination goes away or takes nothing, or `IMAGE_CHANGED`,
   * `IMAGE_UNREADABLE`
   */
  *run(): Steps {
    const ring = this.ring;
    try {
      if (!(yield* this.#begin())) return;
      while (!ring.stopped) {
        const slot = ring.look();
        if (slot < 0) {
          yield* ring.requestWake() ? this.#turns.pause() : this.#turns.give();
          continue;
        }
        const at = ring.at(slot);
        const bytes = this.#make(at);
        if (!(yield* this.#sender.send(this.#gather))) return;
        ring.words[at + PacketWord.BYTES] = bytes;
        ring.finish();
        yield* this.#turns.give();
      }
    } catch (error) {
      throw this.#locator.reasonOf(error);
    }
  }

  /** Frees its buffers. What it left is nobody's to wait for. */
  [Symbol.dispose](): void {
    this.ring.bury();
    this.#stack.dispose();
  }

  /** Says who this is, and that nothing comes before the end of the block list. */
  *#begin(): Steps<boolean> {
    const { channel, settings: { uuid }, targetPageSize } = this.#init;
    const headBytes = multifdHeadBytes(targetPageSize);
    writeMultifdInit(this.#bytes.subarray(headBytes), channel, uuid);
    this.#gather.clear();
    this.#gather.add(this.#head.address + headBytes, MULTIFD_INIT_BYTES);
    this.#addHead(channel, true, undefined, 0, 0, 0);
    return yield* this.#sender.send(this.#gather);
  }

  /** Gathers the packet of a slot; returns its bytes. */
  #make(at: number): number {
    const { words } = this.ring;
    const { addresses } = this.#layout;
    const { targetPageSize } = this.#init;
    const normal = words[at + PacketWord.NORMAL]!;
    const zero = words[at + PacketWord.ZERO]!;
    const count = normal + zero;
    const bytes = this.#bytes;
    for (let index = 0; index < count; index++) {
      writeMultifdOffset(bytes, index, words[at + PacketWord.PAGES + index]! * targetPageSize);
    }
    const compresses = this.#compressor !== undefined && normal > 0;
    const payload = compresses ? this.#compress(at + addresses, normal) : normal * targetPageSize;
    const name = count === 0 ? undefined : this.#names[words[at + PacketWord.BLOCK]!]!;
    this.#gather.clear();
    const sync = words[at + PacketWord.SYNC]! !== 0;
    this.#addHead(words[at + PacketWord.NUMBER]! >>> 0, sync, name, normal, zero, payload);
    if (compresses) this.#gather.add(this.#room!.address + MULTIFD_PACKET_MEMORY, payload);
    else this.#addPages(at + addresses, normal);
    return multifdHeadBytes(targetPageSize) + payload;
  }

  #addHead(
    number: number,
    sync: boolean,
    block: Uint8Array | undefined,
    normalPages: number,
    zeroPages: number,
    payloadBytes: number,
  ): void {
    const { pages } = this.#layout;
    // One without content does not say how it is compressed, as QEMU's own.
    const method = normalPages + zeroPages === 0 ? MULTIFD_METHOD.NONE : this.#method;
    const fields = { number, sync, method, block, normalPages, zeroPages, payloadBytes };
    writeMultifdHead(this.#bytes, pages, fields);
    this.#gather.add(this.#head.address, multifdHeadBytes(this.#init.targetPageSize));
  }

  /** Adds pages where they lie, neighbours as one piece. */
  #addPages(at: number, count: number): void {
    const { targetPageSize } = this.#init;
    let start = 0;
    let length = 0;
    for (let index = 0; index < count; index++) {
      const address = this.#address(at + 2 * index);
      if (address === start + length) {
        length += targetPageSize;
        continue;
      }
      if (length > 0) this.#gather.add(start, length);
      start = address;
      length = targetPageSize;
    }
    if (length > 0) this.#gather.add(start, length);
  }

  /** Copies pages and compresses them as one piece of the channel's stream; returns its bytes. */
  #compress(at: number, count: number): number {
    const { address } = this.#room!;
    const length = count * this.#init.targetPageSize;
    this.#gather.clear();
    this.#addPages(at, count);
    for (let copied = 0; copied < length;) {
      const more = this.#gather.copyTo(address + copied, length - copied);
      if (more < 0) throw new SyscallError("process_vm_writev", -more, "pages to be compressed");
      copied += more;
    }
    const to = address + MULTIFD_PACKET_MEMORY;
    try {
      return this.#compressor!.compress(address, length, to, MAX_MULTIFD_PAYLOAD);
    } catch (cause) {
      const { message } = cause as Error;
      throw new MigrationError("COMPRESSION_FAILED", message, { cause });
    }
  }

  #address(at: number): number {
    const { words } = this.ring;
    return (words[at]! >>> 0) + words[at + 1]! * 0x1_0000_0000;
  }
}
