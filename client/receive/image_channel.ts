/** A migration on its way into an image: both channels, the answers, and when the file is complete. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { OutputFile, publishFile, syncDirectory } from "../../ffi/file.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { Steps, TaskPoll, Tell } from "../../migration/threads/task.ts";
import { DecompressingPages } from "../decompression/decompressing_pages.ts";
import { mainRounds } from "../multifd/main_rounds.ts";
import { IncomingStream } from "../incoming/incoming_stream.ts";
import type { ConnectionInit } from "../../channel/connection.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { connectionLost, FROM_SOURCE } from "../../channel/role.ts";
import { MAIN_CHANNEL_BYTES, READER_SLOTS, StreamReader } from "../incoming/stream_reader.ts";
import { ImageAnswers } from "./image_answers.ts";
import { type Break, codeOf, isBreak, isLoss, takenUp } from "./image_break.ts";
import { ImageCallers } from "./image_callers.ts";
import type { ImageChannelInit, ImageChannelMessage } from "./image_channel_messages.ts";
import { ImageEvents } from "./image_events.ts";
import { ImageMemory, type WholeFrame } from "./image_memory.ts";
import { Counter, Holder, ReceiveState } from "./receive_state.ts";

/** Nanoseconds between two tries to write what cannot be written. */
const WRITE_INTERVAL = 500e6;
/**
 * Nanoseconds for a source to come again that has sent all and lost its connection: the image is there, and
 * all that is left is to tell it so. QEMU 7.2 does not come (seen).
 */
const FAREWELL_WAIT = 10e9;
/** Nanoseconds for a page on the preempt channel that the end on the main channel overtook. */
const STRAGGLER_WAIT = 2e9;

const ANSWER_SLOT = READER_SLOTS;
const CALLERS_SLOT = ANSWER_SLOT + 1;

/**
 * Receives a migration, a piece of input a step. It asks for no page: those that the source discards
 * come by themselves.
 *
 * A source that waits to be told that the device state is loaded (QEMU 10.2 and later) is told so only
 * when every page is on the disk: until then it can let the guest go on, whatever happens here.
 *
 * An older source keeps the guest stopped when the connection breaks after the switch. Then this waits
 * until it comes again, tells it which pages are here, and takes the others: as often as need be.
 */
export class ImageChannel implements Disposable {
  readonly #init: ImageChannelInit;
  readonly #tell: Tell<ImageChannelMessage>;
  readonly #poll: TaskPoll;
  readonly #state: ReceiveState;
  readonly #buffer: ReceiveBuffer;
  readonly #memory: ImageMemory;
  readonly #pages: DecompressingPages;
  readonly #stream: IncomingStream;
  readonly #reader: StreamReader;
  readonly #answers: ImageAnswers;
  readonly #callers: ImageCallers;
  readonly #events: ImageEvents;
  /** The connection that is read; undefined while there is none. */
  #main: ConnectionInit | undefined;
  /** How pages are compressed, if some are. */
  #method: CompressionMethod | undefined;
  /** The image has its name, and the source did not hear of it. */
  #untold = false;
  #sealedPages = -1;

  /**
   * @param init what the control plane prepared
   * @param tell called with what the control plane must know
   * @param poll its task's
   */
  constructor(init: ImageChannelInit, tell: Tell<ImageChannelMessage>, poll: TaskPoll) {
    this.#init = init;
    this.#tell = tell;
    this.#poll = poll;
    const state = new ReceiveState(init.state);
    this.#state = state;
    const file = OutputFile.borrow(init.partialPath, init.fileFd);
    this.#memory = new ImageMemory(file, state, (error) => this.#mayWait(error));
    this.#buffer = new ReceiveBuffer(MAIN_CHANNEL_BYTES, init.decompression.memory);
    const begin = (method: CompressionMethod) => {
      this.#method = method;
      tell({ kind: "compressed", method });
    };
    const multifd = mainRounds(init.multifd);
    const { decompression } = init;
    this.#pages = new DecompressingPages(this.#memory, this.#buffer, decompression, begin, multifd);
    const answers = new ImageAnswers(init.main, init.multifd?.channels, init.approval);
    const callers = new ImageCallers(poll, CALLERS_SLOT, this.#memory, state, init.entrance);
    const { directory } = init;
    this.#answers = answers;
    this.#callers = callers;
    this.#events = new ImageEvents({
      answers,
      callers,
      memory: this.#memory,
      state,
      directory,
      tell,
    });
    this.#stream = new IncomingStream(this.#pages, this.#events, multifd);
    const reader = {
      main: init.main,
      wakeFd: init.wakeFd,
      count: (bytes: number) => state.add(Counter.MAIN_BYTES, bytes),
    };
    this.#main = init.main;
    this.#reader = new StreamReader(reader, poll, this.#stream, this.#pages, this.#buffer);
    if (init.takenUp !== undefined) this.#takeUp(init.takenUp);
  }

  /**
   * Reads until the image is complete and has its name, or it is told to stop.
   *
   * @throws {MigrationError} when a source that has the guest goes away first, or sends what cannot be
   * @throws {ProtocolError} when its stream is malformed
   * @throws {SyscallError} when the file cannot be written
   */
  *read(): Steps {
    let broken = this.#main === undefined ? takenUp() : undefined;
    while (true) {
      try {
        if (broken !== undefined && !(yield* this.#pause(broken))) return;
        broken = undefined;
        return yield* this.#readToEnd();
      } catch (error) {
        if (this.#untold) return;
        if (!this.#canPause(error)) {
          this.#refuse();
          throw error;
        }
        broken = error;
      }
    }
  }

  /** Frees its buffers and closes the connections that were accepted here. */
  close(): void {
    this.#pages.close();
    this.#buffer.close();
    this.#memory.close();
    this.#callers.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  *#readToEnd(): Steps {
    while (!this.#stream.ended && !this.#state.stopped) {
      yield* this.#readOn();
      if (!this.#stream.ended) yield* this.#wait();
    }
    if (this.#stream.ended) yield* this.#complete();
    else this.#refuse();
  }

  /** Takes what has come on the main channel, and does what follows from it. */
  *#readOn(): Steps {
    this.#reader.receive();
    yield* this.#answer();
    yield* this.#writeHeld();
    yield* this.#mark();
    if (!this.#events.mayLetGo) return;
    yield* this.#seal();
    this.#events.letGo();
  }

  /** Goes on with what another receiver left; its source is waited for. */
  #takeUp(taken: WholeFrame): void {
    this.#main = undefined;
    this.#memory.adopt(taken);
    this.#pages.adopt(taken.machine, taken.method);
    this.#stream.adopt(taken.machine);
    this.#events.adopt();
  }

  /**
   * Has the file say that its source has switched: from here on another receiver can take it up, should this
   * one be killed, or its host go down.
   */
  *#mark(): Steps {
    if (!this.#events.unmarked) return;
    while (!this.#memory.mark(this.#method)) yield* this.#writeHeld();
    syncDirectory(this.#init.directory);
    this.#events.marked();
  }

  /** Waits until something has come, and looks after the other connections. */
  *#wait(): Steps {
    this.#callers.begin();
    yield;
    this.#reader.clearWake();
    this.#callers.look();
    yield* this.#writeHeld();
    if (!this.#events.mayGoOn && this.#state.holder === Holder.SWITCHED) this.#seeConnection();
  }

  /** Throws when the connection is no longer the one that counts. */
  #seeConnection(): void {
    if (this.#state.takePause()) throw new MigrationError("CANCELLED", "Paused from this side");
    this.#callers.seeConnection(this.#memory.missing);
  }

  /**
   * Whether what went wrong leaves a source that keeps the guest and may come again. QEMU 11.1 lets it go on
   * until it has heard SHUT 0, also when it was told that the device state is loaded (seen).
   */
  #canPause(error: unknown): error is Break {
    if (this.#events.mayGoOn || this.#state.holder !== Holder.SWITCHED || this.#state.stopped) {
      return false;
    }
    return isBreak(error);
  }

  /**
   * Ends the connection, without a word: to a source that has switched each word is the end of the
   * migration. Waits until it comes again.
   *
   * @returns false when it was told to stop first, or need not come
   */
  *#pause(error: Break): Steps<boolean> {
    this.#reader.listen(false);
    this.#poll.watch(ANSWER_SLOT, -1, 0);
    if (this.#main !== undefined) this.#answers.hangUp();
    this.#main = undefined;
    this.#pages.restart(); // what came whole is good, from wherever it still lies
    this.#callers.begin();
    this.#callers.hold();
    this.#events.disconnected();
    if (isLoss(error)) {
      this.#memory.startOver(this.#method);
      this.#events.unmark();
      this.#sealedPages = -1;
      this.#state.setSealed(false);
    }
    yield* this.#mark();
    if (this.#memory.missing === 0 && !this.#memory.holdsBack) yield* this.#seal();
    if (this.#state.sealed && this.#memory.whole) {
      this.#publish(); // nobody but the image can run the guest: it is not to wait for who may never come
      this.#untold = true;
    }
    this.#tell({ kind: "paused", code: codeOf(error), reason: error.message });
    this.#callers.look();
    const end = monotonicNanoseconds() + FAREWELL_WAIT;
    while (!this.#state.stopped) {
      const left = this.#untold ? end - monotonicNanoseconds() : Infinity;
      if (left <= 0) break;
      const main = this.#callers.takeRecovery();
      if (main !== undefined) {
        this.#recover(main);
        yield* this.#writeHeld(); // before it asks: a page counts as received once it is in the file
        return true;
      }
      if (left < Infinity) this.#poll.sleep(left);
      yield;
      this.#reader.clearWake();
      this.#callers.look();
      this.#state.takePause(); // it is
    }
    return false;
  }

  #recover(main: ConnectionInit): void {
    this.#main = main;
    this.#tell({ kind: "recovering", main });
    this.#answers.replace(main, this.#memory.receivedBitmaps());
    this.#reader.replace(main);
  }

  /** Says what a source that resumes has asked for, which may be long. */
  *#answer(): Steps {
    if (this.#answers.flush()) return;
    this.#reader.listen(false);
    for (let waits = true; waits && !this.#state.stopped;) {
      this.#poll.watch(ANSWER_SLOT, this.#answers.fd, PollEvents.OUT);
      yield;
      this.#poll.watch(ANSWER_SLOT, -1, 0);
      this.#reader.clearWake();
      this.#callers.look();
      this.#seeConnection();
      waits = !this.#answers.flush();
    }
    this.#reader.listen(true);
    this.#poll.again(); // the main channel may have something that is in no socket any more
  }

  *#complete(): Steps {
    const mayGoOn = this.#events.mayGoOn;
    yield* this.#awaitStragglers();
    yield* this.#seal();
    if (mayGoOn && this.#answers.peerLeft) {
      throw connectionLost(FROM_SOURCE.RETURN_PATH, "it did not wait for the end");
    }
    if (!this.#untold) this.#publish();
    if (this.#answers.shut(0) || !mayGoOn) return;
    throw new MigrationError(
      "CONNECTION_LOST",
      "Source went away before it heard that all is here, and may let the guest go on: remove the " +
        `image if it does: ${this.#init.path}`,
    );
  }

  /** Gives the file, which is complete, the image's name. */
  #publish(): void {
    const { path, partialPath, directory, overwrite } = this.#init;
    publishFile(partialPath, path, overwrite);
    this.#state.holder = Holder.IMAGE;
    syncDirectory(directory);
  }

  *#awaitStragglers(): Steps {
    const end = monotonicNanoseconds() + STRAGGLER_WAIT;
    this.#reader.listen(false); // its end would be found again and again
    while (
      this.#memory.missing > 0 && this.#callers.mayBringPages && !this.#state.stopped
    ) {
      const left = end - monotonicNanoseconds();
      if (left <= 0) break;
      this.#poll.sleep(left);
      yield* this.#wait();
    }
    const { missing } = this.#memory;
    if (missing === 0) return this.#requirePages();
    throw new MigrationError(
      "PAGES_MISSING",
      `Source ended without sending every page that it took back: ${missing}`,
    );
  }

  /** A source that took no page back and sent none has its memory still, or sent it where nobody listens. */
  #requirePages(): void {
    if (this.#state.get(Counter.RECEIVED) > 0) return;
    throw new MigrationError(
      "PAGES_MISSING",
      "Source sent not one page of its memory, and took none back to send it later",
    );
  }

  /**
   * Makes the file complete. This waits for a disk, which holds up other images on this thread, but no
   * guest: no thread that receives images does anything else.
   */
  *#seal(): Steps {
    // Again only when a source sends more than it took back.
    const received = this.#state.get(Counter.RECEIVED);
    if (received === this.#sealedPages) return;
    while (!this.#memory.seal()) yield* this.#writeHeld();
    this.#sealedPages = received;
    this.#state.setSealed();
  }

  /**
   * Receives nothing more, on either channel, until the file has taken what it could not take at once: what
   * is held back is no more than the pages of one piece of input.
   */
  *#writeHeld(): Steps {
    while (this.#memory.holdsBack) {
      this.#reader.listen(false);
      this.#callers.rest();
      const next = monotonicNanoseconds() + WRITE_INTERVAL;
      for (let left = WRITE_INTERVAL; left > 0 && !this.#state.stopped;) {
        this.#poll.sleep(left);
        yield;
        this.#reader.clearWake();
        this.#callers.look();
        left = next - monotonicNanoseconds();
      }
      this.#memory.retry();
      if (this.#memory.holdsBack) continue;
      this.#reader.listen(this.#main !== undefined && !this.#stream.ended);
      this.#poll.again(); // the main channel may have something that is in no socket any more
      this.#callers.receive();
    }
  }

  /** A source that can still let the guest go on is told of the failure; one that cannot must wait. */
  #mayWait(error: Error): boolean {
    if (this.#state.holder === Holder.SOURCE || this.#state.stopped) return false;
    this.#tell({ kind: "waiting", reason: error.message });
    return true;
  }

  /**
   * Tells a source that has the guest that this failed; that it went away itself is no news. One that has
   * switched is told nothing: QEMU 11.1 would give the guest up.
   */
  #refuse(): void {
    if (this.#state.holder === Holder.SOURCE && this.#stream.switching) {
      // A word would have QEMU 7.2 hang when it resumes (seen).
      this.#state.holder = Holder.SWITCHING;
      return;
    }
    if (this.#state.isAtSource) this.#answers.shut(1);
  }
}
