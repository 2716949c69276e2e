/** A channel's receiving end: what came, in front of the decoder that takes it. */

import { Errno } from "../ffi/errno.ts";
import type { MigrationError } from "../migration/migration_error.ts";
import type { Connection, ConnectionInit } from "./connection.ts";
import { openConnection } from "./open_connection.ts";
import { type ChannelRole, connectionBroken, connectionLost } from "./role.ts";

/** Memory that a channel is received into. */
export interface Input {
  /** The memory; what came lies at its start. */
  readonly bytes: Uint8Array;
  /** Bytes of it that may be used, at least one whole element of the channel. */
  readonly capacity: number;
  /** Of its first byte, for memory whose owner keeps it in place; absent for an array's own. */
  readonly address?: number;
}

/** Takes whole elements from `bytes[start..end)`. */
export interface Decoder {
  /** @returns index of the first byte that it did not take */
  decode(bytes: Uint8Array, start: number, end: number): number;
}

/** How to receive. */
export interface ReceivingOptions {
  /** Whether each receipt is acknowledged at once: the other end sends small messages and waits for room. */
  readonly acknowledge?: boolean;
}

/**
 * Receives without waiting and keeps what the decoder could not take yet in front of what comes next.
 * When something has come is the caller's to find out, by a poll on {@linkcode ReceivingEnd.fd}: but
 * whoever begins calls {@linkcode ReceivingEnd.receive} before the first poll, for bytes that came while
 * it was found out who is connected are in no socket any more.
 */
export class ReceivingEnd {
  readonly #role: ChannelRole;
  readonly #bytes: Uint8Array;
  readonly #capacity: number;
  readonly #address: number | undefined;
  /** The address of the first byte, which a receipt mostly goes to: made once. */
  readonly #start: bigint;
  readonly #acknowledge: boolean;
  #connection!: Connection;
  /** What came lies in `bytes[#taken..#filled)`. */
  #taken = 0;
  #filled = 0;
  #early = 0;
  #total = 0;
  #ended = false;
  #errno = 0;

  /**
   * @param init the connection
   * @param role for messages
   * @param input what is received into; stays the caller's
   */
  constructor(
    init: ConnectionInit,
    role: ChannelRole,
    input: Input,
    { acknowledge = false }: ReceivingOptions = {},
  ) {
    this.#role = role;
    this.#bytes = input.bytes;
    this.#capacity = input.capacity;
    this.#address = input.address;
    this.#start = BigInt(input.address ?? 0);
    this.#acknowledge = acknowledge;
    this.replace(init);
  }

  /** Goes on with another connection; of what came by the old one nothing is kept. */
  replace(init: ConnectionInit): void {
    const { head } = init;
    this.#connection = openConnection(init);
    this.#ended = false;
    this.#errno = 0;
    this.#taken = 0;
    this.#filled = 0;
    this.#early = head?.length ?? 0;
    if (head !== undefined) this.#bytes.set(head);
  }

  /** What to poll for. */
  get fd(): number {
    return this.#connection.fd;
  }

  /** Bytes received so far, by whatever connection. */
  get total(): number {
    return this.#total;
  }

  /** True once nothing more will come by this connection. */
  get ended(): boolean {
    return this.#ended;
  }

  /** True when it ended because the other end closed it; false when it broke, or goes on. */
  get closed(): boolean {
    return this.#ended && this.#errno === 0;
  }

  /** True when it ended because the other end's host said so; false when nobody knows, or it goes on. */
  get left(): boolean {
    if (!this.#ended) return false;
    return this.#errno === 0 || this.#errno === Errno.ECONNRESET || this.truncated;
  }

  /**
   * True when it ended without TLS's closing word: what a QEMU does with most channels where the stream has
   * ended, and a break everywhere else.
   */
  get truncated(): boolean {
    return this.#ended && this.#connection.truncated;
  }

  /** True when the decoder has taken all that came. */
  get empty(): boolean {
    return this.#taken === this.#filled;
  }

  /** The error for a connection that ended where it should not. */
  lost(): MigrationError {
    if (this.#errno !== 0) {
      return connectionBroken(this.#role, this.#errno, this.#connection.failure);
    }
    return connectionLost(this.#role, "it closed the connection");
  }

  /**
   * Takes what has come, without waiting.
   *
   * @returns bytes, for {@linkcode ReceivingEnd.decode}; 0 when nothing has come, or it has ended
   */
  receive(): number {
    if (this.#ended) return 0;
    this.#compact();
    const early = this.#early;
    this.#early = 0;
    this.#filled += early;
    // Also behind what came early: through TLS the rest of its record is in no socket any more.
    const count = this.#fill();
    if (this.#acknowledge) this.#connection.acknowledge();
    if (count > 0) this.#filled += count;
    else if (count !== -Errno.EAGAIN) {
      this.#ended = true;
      this.#errno = -count;
    }
    const came = early + Math.max(count, 0);
    this.#total += came;
    return came;
  }

  /**
   * Gives a decoder what it has not taken yet. All stays in place until the next receipt, so that what
   * was decoded may be used where it lies.
   *
   * @throws what the decoder throws; what came until then is dropped
   */
  decode(decoder: Decoder): void {
    const start = this.#taken;
    const end = this.#filled;
    this.#taken = end; // a decoder that throws leaves nothing that can be understood
    this.#taken = decoder.decode(this.#bytes, start, end);
  }

  /** Moves what no decoder has taken to the front. */
  #compact(): void {
    const taken = this.#taken;
    if (taken === 0) return;
    if (taken < this.#filled) this.#bytes.copyWithin(0, taken, this.#filled);
    this.#filled -= taken;
    this.#taken = 0;
  }

  #fill(): number {
    const filled = this.#filled;
    if (this.#address === undefined) return this.#connection.receiveInto(this.#bytes, filled);
    const to = filled === 0 ? this.#start : BigInt(this.#address + filled);
    return this.#connection.receive(to, this.#capacity - filled);
  }
}
