/** One connection to a destination: its channels, and the two tasks that serve it. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { WaitOptions } from "../../ffi/wait_ready.ts";
import type { ConnectionInit } from "../../channel/connection.ts";
import { stalled, TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { prepareHandshake } from "../../channel/tls/shake_hands.ts";
import { MigrationError, reviveMigrationError } from "../../migration/migration_error.ts";
import { Ring } from "../../migration/threads/ring.ts";
import type { PoolTask } from "../../migration/threads/thread_pool.ts";
import type { Carriers } from "./carriers.ts";
import type { CompressionInit } from "../compression/compression_slots.ts";
import { MultifdLink } from "./multifd_link.ts";
import type { EarlyPages } from "../order/order_init.ts";
import type { BackgroundSenderInit } from "../sending/background_sender.ts";
import type { BackgroundMessage } from "../sending/background_task.ts";
import { encodeReceiveBitmapRequests, encodeResume } from "../sending/control_stream.ts";
import type { RequestServerInit, ReturnPathMessage } from "../sending/request_server.ts";
import { REQUEST_RING_CAPACITY, type SenderInit } from "../sending/sender_init.ts";
import { type Answer, Answers, notAnswered, untilAborted } from "./answers.ts";
import { Connector } from "./connector.ts";
import type { LinkInit } from "./link_init.ts";
import { isTimeout } from "./preempt_connection.ts";
import { type ChannelMoment, SecondChannel } from "./second_channel.ts";
import { BACKGROUND, RETURN_PATH } from "./sending_tasks.ts";

/** Milliseconds in which a destination that closed one channel closes the other, if it is going away. */
const RETURN_PATH_GRACE = 1_000;
/** Milliseconds in which the end of a broken connection shows on the return path too. */
const RETURN_PATH_PATIENCE = 5_000;
/** Of a sending task that noticed the end of the connection, which the return path may know more of. */
const LOSSES: readonly string[] = ["CONNECTION_LOST", "TLS_FAILED"];

/**
 * Connects to a destination and runs the two tasks that serve it, on a pool's threads: the request server
 * from the connection on, the background sender once it is told to stream. Whatever fails first aborts
 * {@linkcode Link.signal} with its reason, and with it every wait. A migration has one link at a time:
 * another one begins where this has been closed.
 */
export class Link {
  /** Ends the link; aborted with the reason. */
  readonly signal: AbortSignal;
  readonly #init: LinkInit;
  readonly #compression: CompressionInit | undefined;
  readonly #multifd: MultifdLink | undefined;
  readonly #requests = new Ring(REQUEST_RING_CAPACITY, 1);
  readonly #stack = new DisposableStack();
  readonly #backgroundWake = this.#stack.use(new Eventfd());
  readonly #returnPathWake = this.#stack.use(new Eventfd());
  readonly #requestEvent = this.#stack.use(new Eventfd());
  readonly #answers = new Answers();
  readonly #returnPath: PoolTask<RequestServerInit, ReturnPathMessage>;
  readonly #background: PoolTask<BackgroundSenderInit, BackgroundMessage>;
  readonly #firstSent = Promise.withResolvers<BackgroundMessage>();
  #backgroundRuns = false;
  #recovers = false;
  readonly #abort = new AbortController();
  readonly #second: SecondChannel;
  #main: SendingEnd | undefined;
  #connection: ConnectionInit | undefined;
  readonly #connector: Connector;
  #closed: Promise<void> | undefined;

  /**
   * @param init what moves, and how
   * @param carriers what carries pages beside the tasks; undefined when they are sent as they are
   */
  constructor(init: LinkInit, carriers?: Carriers) {
    this.#init = init;
    this.#compression = carriers?.compression?.init;

    this.signal = AbortSignal.any([this.#abort.signal, init.signal]);
    this.#background = init.pool.task(BACKGROUND, (what) => this.#firstSent.resolve(what));
    this.#returnPath = init.pool.task(RETURN_PATH, (message) => {
      if (message.kind === "extensions") init.recovery.mayBreak = true; // one of ours
      this.#answers.add(message);
    });
    const { mode, rules, state } = init;
    const heard = { state, answers: this.#answers, signal: this.signal };
    const channels = carriers?.multifd;
    this.#multifd = channels &&
      new MultifdLink({ ...heard, channels, lost: (reason) => this.lose(reason) });
    this.#connector = this.#stack.use(
      new Connector(init, { ...heard, unacknowledged: () => this.#main!.unacknowledged }),
    );
    this.#second = this.#stack.use(
      new SecondChannel({
        ...heard,
        mode,
        rules,
        connect: (to) => this.#connector.connectPreempt(to),
        send: (bytes) => this.send(bytes),
        obeyed: (ping) => this.obeyed(ping),
        lost: (reason) => this.#loseChannel(reason),
        note: init.onNote,
      }),
    );
    state.beginLink();
  }

  /** What the destination has said. */
  get answers(): Answers {
    return this.#answers;
  }

  /** Resolves when the destination has confirmed the end with SHUT, rejects when the link fails first. */
  get heard(): Promise<void> {
    const ended = this.#returnPath.ended.catch((error) => this.fail(error));
    return untilAborted(ended, this.signal).then(() => this.signal.throwIfAborted());
  }

  /** Sees that all threads are there: the destination is not kept waiting when it hears of us. */
  async prepare(): Promise<void> {
    const { encryption, pool } = this.#init;
    const ready = [this.#returnPath.prepare(), this.#background.prepare()];
    if (encryption !== undefined) ready.push(prepareHandshake(pool));
    await untilAborted(Promise.all(ready), this.signal);
  }

  /**
   * Connects the main channel, and lets the return path be read.
   *
   * @param to where the destination listens
   * @param recovers whether a paused migration goes on
   * @throws {SyscallError} when it cannot be reached
   * @throws {MigrationError} `TLS_FAILED` when one end does not accept the other
   */
  async connect(to: SocketAddress, recovers = false): Promise<void> {
    const { times, spin, memory } = this.#init;
    this.#connection = await this.#connector.connectMain(to);
    this.#main = new SendingEnd(this.#connection, TO_DESTINATION.MAIN);
    times.connected ||= monotonicNanoseconds();
    this.#answers.onLoaded = () => times.loaded ||= monotonicNanoseconds();
    this.#returnPath.ended.catch((error) => this.fail(error));
    this.#returnPath.run({
      ...this.senderInit(),
      wakeFd: this.#returnPathWake.fd,
      backgroundWakeFd: this.#backgroundWake.fd,
      spin,
      // Without postcopy it alone says in the end whether the guest is there.
      decides: memory.live || this.#multifd !== undefined,
      recovers,
    });
  }

  /**
   * Connects the channels of multifd, if there are any, and lets them say who they are.
   *
   * @throws {MigrationError} when the destination does not take them
   */
  async connectMultifd(to: SocketAddress): Promise<void> {
    if (this.#multifd === undefined) return;
    await this.#connector.mainArrived();
    await this.#multifd.connect(() => this.#connector.connectMultifd(to));
  }

  /** The channels of multifd, for the task that gives them pages. */
  get multifd(): Pick<SenderInit, "multifd"> {
    const multifd = this.#multifd?.init;
    return multifd === undefined ? {} : { multifd };
  }

  /** {@linkcode SecondChannel.open}. */
  async openPreempt(to: SocketAddress, moment: ChannelMoment): Promise<void> {
    await this.#second.open(this.#connector.address ?? to, moment);
  }

  /**
   * Connects again and agrees with a paused destination on what it lacks (docs/protocol.md section 2);
   * then the pages can be streamed.
   *
   * Both connections are made before a byte is sent: a QEMU 7.2 dies of a recovery that breaks between
   * the first of them and its end, and a newer one takes the second connection at any time. So one in which
   * nothing moves is given up only where the destination is known to come through that.
   *
   * @param to where the destination listens
   * @param onConnected called when it is there
   * @returns false when it has said instead that it is complete
   * @throws {MigrationError} when it goes away, or says what cannot be
   * @throws {SyscallError} when it cannot be reached
   */
  async recover(to: SocketAddress, onConnected: () => void): Promise<boolean> {
    const { memory } = this.#init;
    this.#recovers = true;
    await this.prepare();
    await this.connect(to, true);
    await this.#second.reopen(this.#connector.address ?? to);
    // Through TLS one that does not accept this end is silent about it until something is read.
    if (!this.#connector.silent) onConnected();
    // It may have nothing to recover: all is there, and only the word of that was lost.
    const complete = this.heard.then(() => true);
    complete.catch(() => {}); // it may fail before anybody waits for it: then what is sent fails too
    const answered = async (word: "bitmaps" | "resumed") => {
      await this.#answered(word, this.#init.recovery.mayBreak);
      return false;
    };
    await this.send(encodeReceiveBitmapRequests(memory.layout.blocks));
    this.#second.openIfRecoveryAwaits();
    if (await Promise.race([complete, answered("bitmaps")])) return false;
    if (this.#connector.silent) onConnected();
    await this.send(encodeResume());
    return !await Promise.race([complete, answered("resumed")]);
  }

  /** Waits until the destination has obeyed all that was sent before a PING. */
  obeyed(ping: number): Promise<void> {
    return this.#answered(ping, true);
  }

  /** Sends on the main channel, while no task does. */
  async send(bytes: Uint8Array): Promise<void> {
    try {
      await this.#main!.sendAll(bytes, this.#wait());
    } catch (cause) {
      this.signal.throwIfAborted();
      if (isTimeout(cause)) throw stalled(TO_DESTINATION.MAIN, this.#init.stallTimeout);
      // What a destination said before it went away comes first.
      await this.hearOut();
      this.signal.throwIfAborted();
      throw cause;
    }
  }

  /**
   * Sends pages before the guest is handed over: the first of the migration's plan, or over multifd all.
   *
   * @param early which of the plan
   * @returns what was sent
   */
  async sendFirst(early?: EarlyPages): Promise<BackgroundMessage> {
    this.#runBackground({ ...early === undefined ? {} : { early }, ...this.multifd });
    this.#background.ended.catch((error) => this.lose(error));
    return await untilAborted(this.#firstSent.promise, this.signal);
  }

  /** Ends what {@linkcode Link.sendFirst} does over multifd: the rest is to follow on demand. */
  endPrecopy(): void {
    this.#init.state.wantPostcopy();
    if (this.#closed === undefined) this.#backgroundWake.signal();
  }

  /** Streams all pages that are left, and ends when the destination has confirmed that it has them. */
  async stream(): Promise<void> {
    this.#init.state.setStreams();
    if (this.#backgroundRuns) this.#backgroundWake.signal();
    else this.#runBackground();
    const sent = this.#background.ended.catch((error) => this.lose(error));
    this.#second.openIfLoadingAwaits();
    await untilAborted(Promise.all([sent, this.heard]), this.signal);
  }

  /** True when a page may have been lost with a preempt channel that the destination closed too early. */
  get lostUrgentPages(): boolean {
    return this.#second.lostPages;
  }

  /** Sends the last bytes of the main channel, which the destination may confirm then. */
  async sendEnd(bytes: Uint8Array): Promise<void> {
    const last = bytes.length - 1;
    await this.send(bytes.subarray(0, last));
    // Said before it is sent: the destination's SHUT may overtake the return from the call. Not
    // sooner: from here on one that stays silent counts as stalled.
    this.#init.state.setBackgroundEnded();
    this.#returnPathWake.signal();
    await this.send(bytes.subarray(last));
  }

  /** Ends every wait with a task's reason. */
  fail(error: unknown): void {
    this.#abort.abort(reviveMigrationError(error));
  }

  /** A sending task failed. What the destination said before it went away comes first. */
  async lose(error: unknown): Promise<void> {
    if (LOSSES.includes((error as { code?: string }).code ?? "")) await this.hearOut();
    this.fail(error);
  }

  /**
   * Lets the return path of a broken connection be read to its end: what a destination said before it
   * went away tells more, and ends the link first.
   */
  async hearOut(): Promise<void> {
    await this.#ended(RETURN_PATH_PATIENCE);
  }

  /** What every sending task is made from. */
  senderInit(): Omit<SenderInit, "wakeFd"> {
    const { memory: { layout, pages, order }, dirty, state, mode, stallTimeout } = this.#init;
    const { preempt } = this.#connector;
    return {
      blocks: layout.blocks,
      targetPageSize: layout.targetPageSize,
      pages,
      dirty: dirty.buffer,
      state: state.buffer,
      requests: this.#requests.buffer,
      mode,
      main: this.#connection!,
      ...preempt === undefined ? {} : { preempt },
      requestFd: this.#requestEvent.fd,
      ...this.#compression === undefined ? {} : { compression: this.#compression },
      // A guest that went on after a pause is not seen from its start.
      ...order === undefined ? {} : { order: this.#recovers ? { ...order, holdBack: 0 } : order },
      stallTimeout,
    };
  }

  /**
   * Ends both tasks and closes the connections. Closing again does nothing.
   *
   * @param finished settles when nobody uses them any more; aborted waits make it so
   * @param others tasks of the owner that use them too, told to end by him
   */
  close(finished?: Promise<unknown>, others: readonly Promise<void>[] = []): Promise<void> {
    this.#closed ??= this.#close(finished, others);
    return this.#closed;
  }

  #runBackground(first: Pick<BackgroundSenderInit, "early" | "multifd"> = {}): void {
    const { memory } = this.#init;
    this.#backgroundRuns = true;
    this.#background.run({
      ...this.senderInit(),
      wakeFd: this.#backgroundWake.fd,
      returnPathWakeFd: this.#returnPathWake.fd,
      sectionId: memory.sectionId,
      ...first,
    });
  }

  /**
   * Waits for an answer.
   *
   * @param inTime whether it must come before nothing moves any more
   * @throws {MigrationError} `STALLED` when it does not
   */
  async #answered(answer: Answer, inTime: boolean): Promise<void> {
    const { stallTimeout, state } = this.#init;
    const patience = inTime ? stallTimeout : Infinity;
    const isPing = typeof answer === "number";
    let [left, heard] = [Infinity, state.returnPath.bytes];
    while (!await this.#answers.heard(answer, patience, this.signal)) {
      const before = { left, heard };
      [left, heard] = [this.#main!.unacknowledged, state.returnPath.bytes];
      // The question may lie behind much else in the socket: as long as that moves, nobody is stalled.
      if (left > 0 && left < before.left) continue;
      // Receive bitmaps are long answers; other chatter is none.
      if (!isPing && heard > before.heard) continue;
      throw notAnswered(answer, stallTimeout);
    }
  }

  /** The preempt channel was closed: a page that was sent there may be lost. */
  async #loseChannel(reason: Error): Promise<void> {
    // One that went away closes the return path too, and that is the better reason.
    await this.#ended(RETURN_PATH_GRACE);
    this.#abort.abort(reason);
  }

  #wait(): WaitOptions {
    return { signal: this.signal, timeout: this.#init.stallTimeout };
  }

  /** Waits for the end of the return path, but no longer than the given milliseconds. */
  async #ended(milliseconds: number): Promise<void> {
    const { promise: patience, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, milliseconds);
    await Promise.race([this.#returnPath.ended.catch(() => {}), patience]);
    clearTimeout(timer);
  }

  async #close(
    finished: Promise<unknown> | undefined,
    others: readonly Promise<void>[],
  ): Promise<void> {
    this.#abort.abort(new MigrationError("CANCELLED", "Source was closed"));
    this.#init.state.stop();
    this.#backgroundWake.signal();
    this.#returnPathWake.signal();
    await finished?.catch(() => {});
    await this.#second.watched;
    await this.#connector.settled; // another channel may have been on its way
    // The descriptors are closed only when no task can use them: a number may be given out again.
    const tasks = [this.#returnPath.join(), this.#background.join(), this.#multifd?.stop()];
    await Promise.all([...tasks, ...others]);
    // To a destination that does not have everything the end is a break, and not to look like another.
    if (this.#init.state.confirmed) this.#connector.end();
    this.#stack.dispose();
  }
}
