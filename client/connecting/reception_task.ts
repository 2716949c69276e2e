/** Handshakes with whoever connects, on a thread where nobody waits for a page. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { connectionWords } from "../../channel/connection_words.ts";
import { closeConnection } from "../../channel/owned_connection.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { clearEvent, signalEvent } from "../../ffi/eventfd.ts";
import { peerHost } from "../../ffi/peer_host.ts";
import { watchPeer } from "../../ffi/peer_watch.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { TlsContextInit } from "../../ffi/tls/context.ts";
import { TlsHandshake } from "../../ffi/tls/handshake.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import type { Ring } from "../../migration/threads/ring.ts";
import type { Task, TaskPoll, Tell } from "../../migration/threads/task.ts";
import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import { type CallerFacts, callerLimit, leastLikely, MOST_CALLERS } from "./callers.ts";
import { admittedRing, type AllowedNetworks, Entrance, sourceAt } from "./entrance.ts";
import { listenersRing, MOST_LISTENERS } from "./listeners.ts";
import { SentAway, type SharedSentAway } from "./sent_away.ts";

/** What a reception is made from, structured-cloned into its task. */
export interface ReceptionInit {
  /** Of which sessions are made; owned elsewhere. */
  readonly context: TlsContextInit;
  /** Ring of listening sockets. */
  readonly listeners: SharedArrayBuffer;
  /** Signalled when there is another, or when it is to end: then the first word of `stop` is not 0. */
  readonly wakeFd: number;
  readonly stop: SharedArrayBuffer;
  /** Ring of those who are let in, and what is signalled then. */
  readonly admitted: SharedArrayBuffer;
  readonly admittedFd: number;
  /** Milliseconds for a handshake. */
  readonly patience: number;
  /** Milliseconds without a sign of life after which whoever connects counts as gone. */
  readonly stallTimeout: number;
  /** Whose hosts may connect; absent: any. */
  readonly allowed?: AllowedNetworks;
  /** Where those are counted who did not finish in time. */
  readonly sentAway: SharedSentAway;
}

/** Tells of connections with which a handshake failed. */
export interface RefusedConnection {
  /** Whose, and why. */
  readonly reason: string;
  /** How many more there were since the last that was told of. */
  readonly others: number;
}

/** The task's kind: on threads of its own, a handshake takes up to 2 ms of a processor. */
export const RECEPTION: TaskKind<ReceptionInit, RefusedConnection> = {
  thread: new URL("./reception_worker.ts", import.meta.url),
  name: "reception",
  urgent: false,
};

const WAKE = 0;
const LISTENERS = 1;
const CALLERS = LISTENERS + MOST_LISTENERS;
/** Steps of handshakes made in one step of the task. */
const STEPS_AT_ONCE = 4;
/** Nanoseconds between two refusals that are told of: a flood of them is not told one by one. */
const TELL_INTERVAL = 1e9;
/** Nanoseconds until it is tried again to let in, while nobody takes them, and to accept without descriptors. */
const FULL_INTERVAL = 10e6;

/** Somebody with whom hands are being shaken. */
interface Caller extends CallerFacts {
  readonly fd: number;
  readonly slot: number;
  readonly session: TlsSession;
  readonly handshake: TlsHandshake;
  /** When it is sent away, monotonic nanoseconds. */
  readonly ends: number;
  /** Whether there is something to be done before anything is found by a poll. */
  due: boolean;
}

/**
 * Accepts, shakes hands, and lets in who is welcome. Whoever does not finish in time, or is one too many, is
 * sent away; a handshake that fails fails nothing else.
 */
export class ReceptionTask implements Task {
  readonly #init: ReceptionInit;
  readonly #tell: Tell<RefusedConnection>;
  readonly #poll: TaskPoll;
  readonly #listeners: Ring;
  readonly #entrances: Entrance[] = [];
  readonly #stop: Int32Array;
  readonly #admitted: Ring;
  readonly #sentAway: SentAway;
  readonly #limit = callerLimit();
  readonly #callers: Caller[] = [];
  readonly #freeSlots = Array.from({ length: MOST_CALLERS + 1 }, (_, index) => CALLERS + index);
  /** Have shaken hands, and wait for room. */
  readonly #waiting: ConnectionInit[] = [];
  #count = 0;
  /** When the next step comes at the latest. */
  #next = Infinity;
  /** Whether there were descriptors left at the last look. */
  #accepting = true;
  #toldAt = -Infinity;
  /** Refusals that are still to be told of, and the reason of the last. */
  #untold = 0;
  #reason = "";

  /**
   * @param init what the control plane prepared
   * @param tell called when somebody was refused
   * @param poll the task's
   */
  constructor(init: ReceptionInit, tell: Tell<RefusedConnection>, poll: TaskPoll) {
    this.#init = init;
    this.#tell = tell;
    this.#poll = poll;
    this.#listeners = listenersRing(init.listeners);
    this.#stop = new Int32Array(init.stop);
    this.#admitted = admittedRing(init.admitted);
    this.#sentAway = new SentAway(init.sentAway);
    poll.watch(WAKE, init.wakeFd, PollEvents.IN);
  }

  /** Done when it is told to end. */
  step(): boolean {
    const poll = this.#poll;
    if (poll.ready(WAKE) !== 0) clearEvent(this.#init.wakeFd);
    if (Atomics.load(this.#stop, 0) !== 0) return true;
    for (; !this.#listeners.empty; this.#listeners.drop()) this.#listen(this.#listeners.peek());
    this.#next = Infinity;
    this.#shakeHands();
    this.#letIn();
    this.#accept();
    this.#sendLateAway();
    this.#tellOfRefusals();
    if (this.#next < Infinity) poll.sleep(this.#next - monotonicNanoseconds());
    return false;
  }

  /** Closes what was accepted and not let in. */
  [Symbol.dispose](): void {
    while (this.#callers.length > 0) this.#sendAway(0);
    for (const connection of this.#waiting.splice(0)) closeConnection(connection);
  }

  #listen(fd: number): void {
    if (this.#entrances.length === MOST_LISTENERS) return;
    const { allowed } = this.#init;
    this.#entrances.push(new Entrance(allowed === undefined ? { fd } : { fd, allowed }));
    this.#watchListeners();
  }

  #watchListeners(): void {
    this.#entrances.forEach(({ fd }, index) =>
      this.#poll.watch(LISTENERS + index, this.#accepting ? fd : -1, PollEvents.IN)
    );
  }

  /** Makes some steps of handshakes, those first that have waited longest. */
  #shakeHands(): void {
    let steps = 0;
    for (const caller of [...this.#callers]) {
      if (!caller.due && this.#poll.ready(caller.slot) === 0) continue;
      // Others of this thread have their turn between: what is left is found by the next poll.
      if (steps++ === STEPS_AT_ONCE) return this.#poll.again();
      caller.due = false;
      this.#step(caller);
    }
  }

  #step(caller: Caller): void {
    const { fd, slot, session, handshake } = caller;
    try {
      if (!handshake.step()) return this.#poll.watch(slot, fd, handshake.wants);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#sendAway(this.#callers.indexOf(caller));
      return this.#refused(error.message);
    }
    this.#remove(this.#callers.indexOf(caller));
    this.#waiting.push({ fd, tls: session.init });
  }

  /** Hands over who has shaken hands, as far as there is room. */
  #letIn(): void {
    let count = 0;
    for (const connection of this.#waiting) {
      if (!this.#admitted.push(...connectionWords(connection))) break;
      count++;
    }
    if (count > 0) {
      this.#waiting.splice(0, count);
      signalEvent(this.#init.admittedFd);
    }
    if (this.#waiting.length > 0) this.#comeBy(monotonicNanoseconds() + FULL_INTERVAL);
  }

  #accept(): void {
    const before = this.#accepting;
    this.#accepting = true;
    const meet = (connection: ConnectionInit) => this.#meet(connection);
    for (let index = 0; index < this.#entrances.length; index++) {
      if (before && this.#poll.ready(LISTENERS + index) === 0) continue;
      this.#accepting &&= this.#entrances[index]!.takeWaiting(meet, () => this.#makeRoom());
    }
    if (this.#accepting !== before) this.#watchListeners();
    // Somebody else of this process may close one meanwhile.
    if (!this.#accepting) this.#comeBy(monotonicNanoseconds() + FULL_INTERVAL);
  }

  #meet(connection: ConnectionInit): void {
    // Who comes while so many wait for those who accept is as one too many.
    if (this.#waiting.length >= this.#limit) return closeConnection(connection);
    const { context, patience, stallTimeout } = this.#init;
    const { fd } = connection;
    const peer = peerHost(fd);
    watchPeer(fd, stallTimeout);
    const session = new TlsSession(context, fd, sourceAt(peer));
    this.#callers.push({
      ...{ fd, peer, session, order: this.#count++, due: true },
      slot: this.#freeSlots.pop()!,
      handshake: new TlsHandshake(session.handshake),
      ends: monotonicNanoseconds() + patience * 1e6,
    });
    this.#poll.again();
    if (this.#callers.length > this.#limit) this.#makeRoom();
  }

  /** Sends away who is least likely to be wanted; false when there is nobody. */
  #makeRoom(): boolean {
    if (this.#callers.length === 0) return false;
    this.#sendSilentAway(leastLikely(this.#callers));
    return true;
  }

  #sendLateAway(): void {
    const now = monotonicNanoseconds();
    // They came in this order, and have as long.
    while (this.#callers.length > 0 && this.#callers[0]!.ends <= now) this.#sendSilentAway(0);
    this.#comeBy(this.#callers[0]?.ends ?? Infinity);
  }

  /** The next step comes at a time at the latest. */
  #comeBy(time: number): void {
    this.#next = Math.min(this.#next, time);
  }

  #sendSilentAway(index: number): void {
    this.#sentAway.add(this.#callers[index]!.peer);
    this.#sendAway(index);
  }

  #sendAway(index: number): void {
    const { fd, session } = this.#callers[index]!;
    this.#remove(index);
    closeConnection({ fd, tls: session.init });
  }

  /** Waits for it no more: before it is closed, for its number may be given out again at once. */
  #remove(index: number): void {
    const { slot, handshake } = this.#callers[index]!;
    this.#callers.splice(index, 1);
    handshake.close();
    this.#poll.watch(slot, -1, 0);
    this.#freeSlots.push(slot);
  }

  #refused(reason: string): void {
    this.#untold++;
    this.#reason = reason;
  }

  /** Tells of the last refusal, at once or when enough time has passed: it may be what somebody looks for. */
  #tellOfRefusals(): void {
    if (this.#untold === 0) return;
    const now = monotonicNanoseconds();
    const due = this.#toldAt + TELL_INTERVAL;
    if (now < due) return this.#comeBy(due);
    this.#toldAt = now;
    this.#tell({ reason: this.#reason, others: this.#untold - 1 });
    this.#untold = 0;
  }
}
