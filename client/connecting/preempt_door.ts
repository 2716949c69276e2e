/** Finding the channels of a migration among the connections that come once its main channel is there. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { FirstBytes } from "../../channel/first_bytes.ts";
import { closeConnection } from "../../channel/owned_connection.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { peerHost } from "../../ffi/peer_host.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { shutdownSocket } from "../../ffi/socket_calls.ts";
import type { TaskPoll } from "../../migration/threads/task.ts";
import {
  type CallerFacts,
  callerLimit,
  leastLikely,
  mayNotBeSilent,
  MOST_CALLERS,
} from "./callers.ts";
import { Entrance, type EntranceInit, type EntranceRules } from "./entrance.ts";
import { MOST_LISTENERS } from "./listeners.ts";
import { SentAway, type SharedSentAway } from "./sent_away.ts";

/** Slots of a poll that a door takes. */
export const DOOR_SLOTS: number = MOST_LISTENERS + MOST_CALLERS + 1;

/**
 * Nanoseconds for which a connection may be silent where no preempt channel is waited for, or where its
 * main channel is not there yet: the first bytes of a main channel come at once, and a preempt channel that
 * a slow path brought before its main channel is there as long.
 */
const SILENCE = 10e9;

/** Nanoseconds until it is tried again to accept, when there were no descriptors left. */
const FULL_INTERVAL = 10e6;

/** What the fault server gets of the connections made so far. */
export interface IncomingConnections {
  /** Where further connections come. */
  readonly entrance: EntranceInit;
  /** Connections that have not said enough to be known; closed by their owner. */
  readonly silent: readonly ConnectionInit[];
  /** The main channel. */
  readonly mainFd: number;
  /** So many of the silent ones came before the main channel. */
  readonly before: number;
  /** Where those are counted that are sent away. */
  readonly sentAway: SharedSentAway;
}

/** A connection that is not known yet. */
interface Caller extends CallerFacts {
  readonly first: FirstBytes;
  readonly slot: number;
  /** When it came, or the connection broke that was there before it. */
  since: number;
}

/**
 * Accepts connections on the thread that serves faults, and finds the preempt channel. That has no
 * greeting and says nothing before a page was asked for, so a connection is taken for it when its first
 * bytes are a page record. When the connection has broken, it finds the main channel of a source that
 * resumes, which may come before or behind its preempt channel, and before it is known here that the old
 * one has broken. All others are closed, also afterwards: port scanners, health checks, a second source.
 *
 * This is not left to the main thread, which may itself wait for a page that only these channels bring.
 */
export class PreemptDoor implements Disposable {
  readonly #poll: Pick<TaskPoll, "watch" | "ready" | "sleep">;
  readonly #slot: number;
  #entrances: Entrance[];
  readonly #rules: EntranceRules;
  /** Connections that are not known yet, the one that came first in front. */
  readonly #callers: Caller[] = [];
  /** A connection keeps its slot: a descriptor must not be in two of them, not even for a moment. */
  readonly #freeSlots: number[] = [];
  /** Connections that are closed here, by their sockets. */
  readonly #accepted = new Map<number, ConnectionInit>();
  /** Whether a preempt channel is waited for. */
  #wanted = true;
  /** Whether no page is due on a preempt channel: the main channel is not there, or has not resumed. */
  #held = false;
  #hasMain = true;
  #resumable = false;
  #recovery: ConnectionInit | undefined;
  /** Which connection was the latest main channel of a source that resumes. */
  #latestMain = -1;
  /** When the next one has been silent for too long, as long as nothing changes who may be. */
  #silenceEnds = Infinity;
  #silenceLooked = false;
  #recoveryFacts: CallerFacts | undefined;
  readonly #sentAway: SentAway;
  readonly #limit = callerLimit();
  /** The main channel, or the last that was there. */
  #main: CallerFacts;
  /** Connections so far, the main channel included. */
  #count = 0;
  /** Whether somebody may have said enough already: no poll tells of what was received before. */
  #unheard = true;
  #accepting = true;

  /**
   * @param poll what is waited on; a look may ask it for a next step
   * @param slot the first of {@linkcode DOOR_SLOTS} slots of it
   * @param incoming the connections so far
   */
  constructor(
    poll: Pick<TaskPoll, "watch" | "ready" | "sleep">,
    slot: number,
    incoming: IncomingConnections,
  ) {
    this.#poll = poll;
    this.#slot = slot;
    this.#entrances = [new Entrance(incoming.entrance)];
    this.#rules = incoming.entrance;
    for (let index = MOST_LISTENERS; index < DOOR_SLOTS; index++) {
      this.#freeSlots.push(slot + index);
    }
    this.#sentAway = new SentAway(incoming.sentAway);
    this.#main = { peer: peerHost(incoming.mainFd), order: incoming.before };
    incoming.silent.forEach((connection, index) => {
      if (index === incoming.before) this.#count++;
      this.#admit(connection);
    });
    this.#watchListeners();
  }

  /** True while some connection may yet turn out to be the preempt channel. */
  get undecided(): boolean {
    return this.#wanted && this.#callers.length > 0;
  }

  /** True when a source that resumes has come, and was not taken yet. */
  get knocks(): boolean {
    return this.#recovery !== undefined;
  }

  /**
   * Whether a source may resume: from here on its main channel is found too, the newest of several. Until
   * the first time none is.
   */
  set resumable(resumable: boolean) {
    this.#resumable = resumable;
    if (!resumable) this.#dropRecovery();
  }

  /**
   * Accepts at another place too.
   *
   * @param fd a listening socket, owned elsewhere and open until the door is closed
   */
  listenAlso(fd: number): void {
    const { length } = this.#entrances;
    if (length === 0 || length === MOST_LISTENERS) return; // others accept; or there are too many
    this.#entrances.push(new Entrance({ ...this.#rules, fd }));
    this.#watchListeners();
  }

  /**
   * Looks at what the last poll found; to be called before the first poll too, for what was said before.
   *
   * @returns the preempt channel, once; what came by it already is in its head
   */
  look(): ConnectionInit | undefined {
    const found = this.#hear();
    if (found !== undefined) {
      this.#wanted = false;
      this.#silenceLooked = false;
    }
    if (!this.#wanted && !this.#resumable) this.#sendAllAway();
    // Not before everybody was heard: whoever has been silent for longest may have to go.
    this.#accept();
    this.#limitSilence();
    // Others of this process hold the descriptors, and none of them tells when it lets go of one.
    if (!this.#accepting) this.#poll.sleep(FULL_INTERVAL);
    return found;
  }

  /** The connection has broken: both channels are waited for anew. */
  hold(): void {
    this.#wanted = true;
    this.#held = true;
    this.#hasMain = false;
    this.#silenceLooked = false;
    const now = monotonicNanoseconds();
    for (const caller of this.#callers) caller.since = now;
  }

  /**
   * Takes the main channel of a source that resumes, if one has come. Its preempt channel may be silent for
   * as long as it likes from here on, and is found after {@linkcode PreemptDoor.resume}.
   */
  takeRecovery(): ConnectionInit | undefined {
    const recovery = this.#recovery;
    if (recovery === undefined) return undefined;
    this.#recovery = undefined;
    this.#main = this.#recoveryFacts!;
    this.#hasMain = true;
    this.#silenceLooked = false;
    return recovery;
  }

  /**
   * The source has resumed: its preempt channel is found from the next look on. To be called before it is
   * told so: whoever has brought a page by then belongs to a connection that broke, also one that nobody had
   * the time to accept, and is sent away. It would bring what is here already, and end with its connection.
   */
  resume(): void {
    this.#acceptAt(() => true);
    this.#unheard = true;
    this.#hear();
    this.#held = false; // who speaks from here on is found by the next poll
  }

  /** A connection that was found is another's to close from here on. */
  give(fd: number): void {
    this.#accepted.delete(fd);
  }

  /** Ends a connection that was found; nobody waits for it any more. */
  end(fd: number): void {
    this.#sendAway(fd);
  }

  /** From here on everybody is sent away: nobody is of use any more. */
  refuse(): void {
    this.#wanted = false;
    this.resumable = false;
    this.#sendAllAway();
  }

  /** From here on others accept. */
  leave(): void {
    this.refuse();
    for (let index = 0; index < this.#entrances.length; index++) {
      this.#poll.watch(this.#slot + index, -1, 0);
    }
    this.#entrances = [];
  }

  /** Closes what was accepted here, the preempt channel included. */
  close(): void {
    for (const connection of this.#accepted.values()) closeConnection(connection);
    this.#accepted.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Lets everybody speak who has something to say. */
  #hear(): ConnectionInit | undefined {
    let found: ConnectionInit | undefined;
    for (let index = this.#callers.length - 1; index >= 0; index--) {
      const caller = this.#callers[index]!;
      const { first, slot } = caller;
      if (!this.#unheard && this.#poll.ready(slot) === 0) continue;
      const speaker = first.listen();
      if (speaker === "silent") continue;
      this.#remove(index);
      if (speaker === "preempt" && this.#wanted && !this.#held && found === undefined) {
        found = first.connection;
        continue;
      }
      if (speaker === "recovery" && this.#resumable && caller.order > this.#latestMain) {
        this.#find(caller);
      } else {
        this.#sendAway(first.fd);
      }
    }
    this.#unheard = false;
    return found;
  }

  /** A source has come to resume. It came again because what it had before is dead, whoever speaks first. */
  #find({ first, peer, order }: Caller): void {
    this.#dropRecovery();
    this.#recovery = first.connection;
    this.#latestMain = order;
    this.#recoveryFacts = { peer, order };
  }

  #dropRecovery(): void {
    if (this.#recovery !== undefined) this.#sendAway(this.#recovery.fd);
    this.#recovery = undefined;
  }

  /** Accepts those that wait, however few the slots are: the source is among them. */
  #accept(): void {
    const watched = this.#accepting;
    this.#acceptAt((index) => !watched || this.#poll.ready(this.#slot + index) !== 0);
  }

  /** @param due whether somebody may wait at an entrance, by its number */
  #acceptAt(due: (index: number) => boolean): void {
    let accepting = true;
    for (let index = 0; accepting && index < this.#entrances.length; index++) {
      if (!due(index)) continue;
      const meet = (connection: ConnectionInit) => this.#meet(connection);
      accepting = this.#entrances[index]!.takeWaiting(meet, () => this.#makeRoom());
    }
    if (accepting === this.#accepting) return;
    this.#accepting = accepting;
    this.#watchListeners();
  }

  #meet(connection: ConnectionInit): void {
    this.#accepted.set(connection.fd, connection);
    if (this.#wanted || this.#resumable) this.#admit(connection);
    else this.#sendAway(connection.fd);
  }

  #admit(connection: ConnectionInit): void {
    const slot = this.#freeSlots.pop()!;
    const since = monotonicNanoseconds();
    const peer = peerHost(connection.fd);
    const order = this.#count++;
    const first = new FirstBytes(connection);
    this.#silenceLooked = false;
    this.#callers.push({ first, slot, since, peer, order });
    this.#poll.watch(slot, connection.fd, PollEvents.IN);
    if (this.#callers.length > this.#limit) this.#makeRoom();
  }

  /** Sends away who is least likely to be wanted; false when there is nobody. */
  #makeRoom(): boolean {
    if (this.#callers.length === 0) return false;
    this.#sendSilentAway(leastLikely(this.#callers, this.#hasMain ? this.#main : undefined));
    return true;
  }

  #sendSilentAway(index: number): void {
    this.#sentAway.add(this.#callers[index]!.peer);
    this.#sendAway(this.#remove(index).fd);
  }

  /** Sends away who has been silent for too long, where silence is no sign of a preempt channel. */
  #limitSilence(): void {
    if (this.#callers.length === 0) return;
    const now = monotonicNanoseconds();
    if (this.#silenceLooked && now < this.#silenceEnds) {
      if (this.#silenceEnds < Infinity) this.#poll.sleep(this.#silenceEnds - now);
      return;
    }
    this.#silenceLooked = true;
    const main = this.#wanted && this.#hasMain ? this.#main : undefined;
    let next = Infinity;
    for (let index = this.#callers.length - 1; index >= 0; index--) {
      const caller = this.#callers[index]!;
      if (!mayNotBeSilent(caller, this.#callers, main)) continue;
      const left = caller.since + SILENCE - now;
      if (left <= 0) this.#sendSilentAway(index);
      else next = Math.min(next, left);
    }
    this.#silenceEnds = now + next;
    if (next < Infinity) this.#poll.sleep(next);
  }

  /** Waits for a connection no more: before it is closed, for its number may be given out again at once. */
  #remove(index: number): FirstBytes {
    const { first, slot } = this.#callers[index]!;
    this.#callers.splice(index, 1);
    this.#poll.watch(slot, -1, 0);
    this.#freeSlots.push(slot);
    return first;
  }

  #sendAllAway(): void {
    while (this.#callers.length > 0) this.#sendAway(this.#remove(0).fd);
  }

  #watchListeners(): void {
    this.#entrances.forEach(({ fd }, index) =>
      this.#poll.watch(this.#slot + index, this.#accepting ? fd : -1, PollEvents.IN)
    );
  }

  #sendAway(fd: number): void {
    const own = this.#accepted.get(fd);
    if (own === undefined) return shutdownSocket(fd);
    this.#accepted.delete(fd);
    closeConnection(own);
    this.#accepting = true;
    this.#watchListeners();
  }
}
