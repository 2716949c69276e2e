/** Receives a remote image: pages that somebody waits for, and all others. */

import { ReceiveBuffer } from "../../../channel/receive_buffer.ts";
import { FROM_SOURCE } from "../../../channel/role.ts";
import { SendingEnd } from "../../../channel/sending_end.ts";
import { monotonicNanoseconds } from "../../../ffi/clock.ts";
import { PollEvents } from "../../../ffi/poll.ts";
import { PageBitmap } from "../../../migration/memory/page_bitmap.ts";
import { MigrationError } from "../../../migration/migration_error.ts";
import type { Task, TaskPoll, Tell } from "../../../migration/threads/task.ts";
import { IncomingStream } from "../../incoming/incoming_stream.ts";
import { type PreemptPages, PreemptRecords } from "../../incoming/preempt_records.ts";
import type { ArrivedMachine, StreamEvents } from "../../incoming/stream_events.ts";
import { READER_SLOTS, StreamReader } from "../../incoming/stream_reader.ts";
import { ReceivedBitmaps } from "../../return_path/received_bitmaps.ts";
import { BASE_PAGE } from "../region.ts";
import { makeRemoteCache, type RemoteCache } from "./remote_cache.ts";
import { RemotePages } from "./remote_pages.ts";
import { RemoteCounter, RemoteState } from "./remote_state.ts";
import type { RemoteInit, RemoteMessage } from "./remote_task.ts";
import { RemoteVoice } from "./remote_voice.ts";

/** Bytes of a piece of the main channel: a page that somebody waits for waits for no more than one of them. */
const MAIN_BYTES = 256 * 1024;
const PREEMPT_BYTES = 256 * 1024;
/** Nanoseconds for a page on the preempt channel that the end on the main channel overtook. */
const STRAGGLER_WAIT = 2e9;

const PREEMPT_SLOT = READER_SLOTS;
const ROOM_SLOT = PREEMPT_SLOT + 1;

/** Both channels of one pair of connections, on one thread. It is done when every page is here. */
export class RemoteReceiver implements Task, StreamEvents, PreemptPages {
  readonly #state: RemoteState;
  readonly #tell: Tell<RemoteMessage>;
  readonly #poll: TaskPoll;
  readonly #stack = new DisposableStack();
  readonly #pages: RemotePages;
  readonly #stream: IncomingStream;
  readonly #reader: StreamReader;
  readonly #preempt: PreemptRecords;
  readonly #preemptBuffer = this.#stack.use(new ReceiveBuffer(PREEMPT_BYTES));
  readonly #voice: RemoteVoice;
  /** What was asked for over these connections. */
  #asked = new PageBitmap(0);
  #bitmaps: ReceivedBitmaps | undefined;
  #preemptBlock = -1;
  #maySpeak = false;
  #blocked = false;
  #endedAt = 0;

  constructor(init: RemoteInit, tell: Tell<RemoteMessage>, poll: TaskPoll) {
    this.#state = new RemoteState(init.state);
    this.#tell = tell;
    this.#poll = poll;
    const { cache: known } = init;
    this.#pages = new RemotePages(this.#state, (machine) => {
      if (known !== undefined) return known;
      const cache = makeRemoteCache(machine);
      tell({ kind: "opened", cache });
      return cache;
    });
    this.#stream = new IncomingStream(this.#pages, this);
    this.#voice = new RemoteVoice(new SendingEnd(init.main, FROM_SOURCE.RETURN_PATH));
    const { wakeFd, main, preempt } = init;
    const count = (bytes: number) => this.#state.add(RemoteCounter.BYTES, bytes);
    const buffer = this.#stack.use(new ReceiveBuffer(MAIN_BYTES));
    this.#reader = new StreamReader(
      { main, wakeFd, count },
      poll,
      this.#stream,
      this.#pages,
      buffer,
    );
    const input = this.#preemptBuffer;
    this.#preempt = new PreemptRecords(preempt, input, this, BASE_PAGE);
    poll.watch(PREEMPT_SLOT, this.#preempt.fd, PollEvents.IN);
    if (!init.resumes) return;
    this.#pages.adopt(known!);
    this.#stream.adopt(known!.machine);
    this.#reader.replace(main);
  }

  /** Takes what has come, asked pages first, and asks for what is wanted. */
  step(): boolean {
    this.#reader.clearWake();
    if (this.#state.stopped) {
      this.#voice.hangUp();
      return true;
    }
    try {
      this.#takeAsked();
      this.#ask();
      if (!this.#stream.ended && !this.#blocked) this.#reader.receive();
      this.#ask(); // it may have been told only now that it may
      if (this.#stream.ended && !this.#blocked) return this.#end();
      this.#speak();
      return false;
    } catch (error) {
      // Nothing is missing any more: how the server takes its leave is its own affair.
      if (this.#pages.whole && this.#state.complete) return true;
      throw error;
    }
  }

  /** Frees its buffers. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  configuration(): void {}

  returnPathOpened(): void {}

  ping(value: number): void {
    this.#voice.pong(value);
  }

  opened(): void {}

  listening(): void {
    this.#serve();
  }

  bitmapWanted(block: string): void {
    const { layout, received } = this.#cache;
    const index = layout.blocks.findIndex(({ name }) => name === block);
    if (index < 0) throw new MigrationError("BAD_PEER", `No RAM block of that name: ${block}`);
    this.#bitmaps ??= new ReceivedBitmaps(layout, received);
    this.#voice.wantBitmap(this.#bitmaps, index);
  }

  resumed(): void {
    this.#voice.acknowledgeResume();
    this.#serve();
  }

  switchover(): void {}

  arrived({ commands }: ArrivedMachine): void {
    for (const command of commands) if (command.kind === "ping") this.ping(command.value);
  }

  ended(): void {
    this.#endedAt = monotonicNanoseconds();
  }

  select(name: string): void {
    this.#pages.select(name);
  }

  page(offset: number, bytes: Uint8Array, at: number): void {
    this.#pages.page(offset, bytes, at, this.#preemptBuffer.address + at);
  }

  zeroPage(offset: number): void {
    this.#pages.zeroPage(offset);
  }

  get #cache(): RemoteCache {
    return this.#pages.cache!;
  }

  /** From here on requests are answered; also those that another server was asked, and did not answer. */
  #serve(): void {
    this.#maySpeak = true;
    this.#asked = new PageBitmap(this.#cache.layout.pageLimit);
    this.#cache.wantAgain();
    this.#tell({ kind: "served" });
  }

  /** Takes a piece of the preempt channel. */
  #takeAsked(): void {
    const preempt = this.#preempt;
    if (preempt.disconnected) return;
    const count = preempt.receive();
    if (count > 0) {
      this.#state.add(RemoteCounter.BYTES, count);
      this.#poll.again();
      // "The same block as before" is meant for each channel by itself.
      const main = this.#pages.selected;
      this.#pages.selected = this.#preemptBlock;
      preempt.decode();
      this.#pages.flush();
      this.#preemptBlock = this.#pages.selected;
      this.#pages.selected = main;
    }
    if (!preempt.disconnected) return;
    this.#poll.watch(PREEMPT_SLOT, -1, 0);
    // What was asked for is on its way there, and comes by another connection alone.
    if (!this.#stream.ended && !this.#pages.whole) throw preempt.lost();
  }

  /** Asks for pages that somebody waits for, those that follow each other by one request. */
  #ask(): void {
    if (!this.#maySpeak) return;
    const cache = this.#cache;
    while (!this.#voice.busy) {
      const group = cache.takeGroup();
      if (group < 0) return;
      for (let page = cache.nextWanted(group); page >= 0;) {
        const end = this.#asked.add(page) ? this.#askFrom(page, group) : page + 1;
        page = cache.nextWanted(group, end);
      }
    }
  }

  /** Asks for a page and those behind it; returns the page behind the last. */
  #askFrom(page: number, group: number): number {
    const cache = this.#cache;
    const { name, firstPage, pageCount } = cache.layout.blockOf(page);
    const limit = firstPage + pageCount;
    let end = page + 1;
    while (end < limit && cache.nextWanted(group, end) === end && this.#asked.add(end)) end++;
    this.#voice.request(name, (page - firstPage) * BASE_PAGE, (end - page) * BASE_PAGE);
    this.#state.add(RemoteCounter.REQUESTED, end - page);
    return end;
  }

  /** Gives the connection what is to be said; nothing is received while it has no room for that. */
  #speak(): void {
    const done = this.#voice.flush();
    if (this.#blocked === !done) return;
    this.#blocked = !done;
    if (done) this.#poll.watch(ROOM_SLOT, -1, 0);
    this.#reader.listen(done);
    if (!done) this.#poll.watch(ROOM_SLOT, this.#voice.fd, PollEvents.OUT);
    else this.#poll.again(); // the main channel may have something that is in no socket any more
  }

  /** The stream has come to its end: says so, once nothing is missing. */
  #end(): boolean {
    this.#reader.listen(false);
    if (this.#pages.whole) {
      this.#voice.shut();
      this.#voice.flush();
      return true;
    }
    const left = this.#endedAt + STRAGGLER_WAIT - monotonicNanoseconds();
    if (left > 0 && !this.#preempt.disconnected) {
      this.#poll.sleep(left);
      return false;
    }
    throw new MigrationError("PAGES_MISSING", "Server ended without sending every page");
  }
}
