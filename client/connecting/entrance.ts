/** Where connections come in: from a listening socket, or from those who have shaken hands with them. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { CONNECTION_WORDS, connectionOf } from "../../channel/connection_words.ts";
import { Errno } from "../../ffi/errno.ts";
import { clearEvent } from "../../ffi/eventfd.ts";
import { peerHost } from "../../ffi/peer_host.ts";
import { acceptFrom, closeSocket } from "../../ffi/socket_calls.ts";
import { Ring } from "../../migration/threads/ring.ts";
import { AllowList } from "./allow_list.ts";
import { SentAway, type SharedSentAway } from "./sent_away.ts";

/** Connections that may wait to be taken. */
const CAPACITY = 128;
/** Connections taken at one look: a flood of them keeps nobody waiting. */
const TAKEN_A_LOOK = 32;

/** What is known of an entrance beside its descriptor. */
export interface EntranceRules {
  /** Where those come whose TLS handshake is done; absent: they come from the listening socket, in clear. */
  readonly admitted?: SharedArrayBuffer;
  /** Whose hosts may connect; absent: any. A connection that was admitted has been looked at. */
  readonly allowed?: AllowedNetworks;
}

/** Networks whose hosts may connect. */
export interface AllowedNetworks {
  readonly networks: readonly string[];
  /** Where those are counted who may not. */
  readonly turnedAway: SharedSentAway;
}

/** An entrance in plain data, for the thread that accepts. */
export interface EntranceInit extends EntranceRules {
  /** What to poll for: a listening socket, or an eventfd. Owned elsewhere, and open for as long. */
  readonly fd: number;
}

/** Makes the ring of connections that were admitted, from the reception to whoever accepts. */
export function admittedRing(buffer?: SharedArrayBuffer): Ring {
  return new Ring(CAPACITY, CONNECTION_WORDS, buffer);
}

/** Takes one connection after the other. One thread at a time does so, each with its own of this. */
export class Entrance {
  /** What to poll for. */
  readonly fd: number;
  readonly #admitted: Ring | undefined;
  readonly #gate: Gate | undefined;

  /** @param init where they come from */
  constructor({ fd, admitted, allowed }: EntranceInit) {
    this.fd = fd;
    this.#admitted = admitted === undefined ? undefined : admittedRing(admitted);
    this.#gate = allowed === undefined ? undefined : new Gate(allowed);
  }

  /**
   * Takes the next connection, without waiting.
   *
   * @returns the connection, the taker's to close; or a negated errno, `-EAGAIN` when there is none, and
   * `-ECONNABORTED` for one that was over, or not allowed, before it began
   */
  take(): ConnectionInit | number {
    return this.#admitted === undefined ? this.#accept() : this.#takeAdmitted(this.#admitted);
  }

  /**
   * Takes those that wait, as many as one look allows.
   *
   * @param meet called with each, which it is to close
   * @param makeRoom called when there are no descriptors left; says whether there are some then
   * @returns false when there are none left: a poll would report those that wait again and again
   */
  takeWaiting(meet: (connection: ConnectionInit) => void, makeRoom: () => boolean): boolean {
    for (let count = 0; count < TAKEN_A_LOOK; count++) {
      const taken = this.take();
      if (typeof taken !== "number") meet(taken);
      else if (taken === -Errno.EAGAIN) return true;
      else if (taken === -Errno.EINTR || taken === -Errno.ECONNABORTED) continue;
      else if ((taken !== -Errno.EMFILE && taken !== -Errno.ENFILE) || !makeRoom()) return false;
    }
    return true;
  }

  #accept(): ConnectionInit | number {
    const fd = acceptFrom(this.fd);
    if (fd < 0) return fd;
    if (this.#gate === undefined || this.#gate.allows(peerHost(fd))) return { fd };
    closeSocket(fd);
    return -Errno.ECONNABORTED;
  }

  #takeAdmitted(ring: Ring): ConnectionInit | number {
    if (ring.empty) {
      clearEvent(this.fd);
      if (ring.empty) return -Errno.EAGAIN; // else it came before the event was cleared
    }
    const fd = ring.peek(0);
    const connection = connectionOf(fd, ring.peek(1), ring.peek(2), sourceAt(peerHost(fd)));
    ring.drop();
    return connection;
  }
}

/** Lets in hosts of some networks, and counts the others. */
class Gate {
  readonly #list: AllowList;
  readonly #turnedAway: SentAway;

  /** @param allowed which, and where the others are counted */
  constructor({ networks, turnedAway }: AllowedNetworks) {
    this.#list = new AllowList(networks);
    this.#turnedAway = new SentAway(turnedAway);
  }

  /** Whether a host may connect; counts one that may not. */
  allows(host: string): boolean {
    if (this.#list.allows(host)) return true;
    this.#turnedAway.add(host);
    return false;
  }
}

/** What a source is called in messages. */
export function sourceAt(host: string): string {
  return host === "" ? "a source" : `the source at ${host}`;
}
