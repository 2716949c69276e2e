/** What lies below a channel when it is encrypted: a TLS session between its bytes and the socket. */

import { Errno } from "../../ffi/errno.ts";
import { Gather } from "../../ffi/gather.ts";
import { addressOf } from "../../ffi/memory.ts";
import { shutdownReceiving } from "../../ffi/socket_calls.ts";
import { RECORD_BYTES, type TlsSessionInit } from "../../ffi/tls/session.ts";
import { TlsStream } from "../../ffi/tls/stream.ts";
import { Connection } from "../connection.ts";

/** Records that are gathered at once. */
const RECORDS = 4;

/**
 * A connection through a TLS session. Pieces are gathered into whole records: two pieces sent by
 * themselves would be two records, and two packets. A writer waits for room as on a socket, whatever the
 * session does: with neither renegotiation nor changes of keys begun here it never waits for input.
 */
export class TlsConnection extends Connection {
  readonly #stream: TlsStream;
  /** Pieces on their way, in one place: made once, and never moved. */
  readonly #gathered = new Uint8Array(new ArrayBuffer(RECORDS * RECORD_BYTES));
  readonly #address = addressOf(this.#gathered); // held beside its owner
  /** Where each record begins: made once, for the calls. */
  readonly #starts = Array.from(
    { length: RECORDS },
    (_, record) => BigInt(this.#address + record * RECORD_BYTES),
  );
  readonly #nothing = new Gather(0);
  #filled = 0;
  #sent = 0;
  /** What ended it, found behind bytes that were to be delivered first. */
  #end: number | undefined;

  /** @param init of a session whose handshake is done */
  constructor(init: TlsSessionInit) {
    super(init.fd);
    this.#stream = new TlsStream(init);
  }

  override get failure(): Error | undefined {
    return this.#stream.error;
  }

  override get truncated(): boolean {
    return this.#stream.truncated;
  }

  /**
   * Receives what is there, in whole records: what is left is in the socket, where a poll finds it.
   *
   * @throws {RangeError} when there is no room for one
   */
  override receive(address: bigint, length: number): number {
    if (this.#end !== undefined) return this.#end;
    checkRoom(length);
    let total = this.#stream.read(address, length);
    if (total <= 0) return total;
    while (length - total >= RECORD_BYTES) {
      const count = this.#stream.read(address + BigInt(total), length - total);
      if (count > 0) {
        total += count;
        continue;
      }
      if (count !== -Errno.EAGAIN) this.#endsWith(count);
      break;
    }
    return total;
  }

  override receiveInto(bytes: Uint8Array, at: number): number {
    const room = at === 0 ? bytes : bytes.subarray(at);
    checkRoom(room.length);
    return this.#end ?? this.#stream.readInto(room, room.length);
  }

  /** Leaves the rest of a record where no poll tells of it: whoever goes on receives before he polls. */
  override receiveFew(bytes: Uint8Array, at: number): number {
    return this.#end ?? this.#stream.readInto(bytes.subarray(at), bytes.length - at);
  }

  /**
   * Sends the pieces; once `-EAGAIN` was said some are no longer in the gather, and still on their way. A
   * kernel that encrypts takes them from where they lie, and makes whole records of them itself.
   */
  override send(gather: Gather): number {
    if (this.#stream.kernelSends) {
      return this.#stream.gone || this.#stream.noteSent(super.send(gather));
    }
    while (true) {
      while (this.#sent < this.#filled) {
        const start = this.#starts[this.#sent / RECORD_BYTES]!;
        const count = this.#stream.write(start, this.#filled - this.#sent);
        if (count < 0) return count;
        this.#sent += count;
      }
      this.#sent = 0;
      this.#filled = 0;
      if (gather.empty) return 0;
      const copied = gather.copyTo(this.#address, this.#gathered.length);
      if (copied < 0) return copied;
      this.#filled = copied;
    }
  }

  /** Sends from the start of an array; after `-EAGAIN` the same bytes are to come again. */
  override sendFrom(bytes: Uint8Array, length: number): number {
    if (this.#sent < this.#filled) {
      const code = this.send(this.#nothing);
      if (code < 0) return code;
    }
    return this.#stream.writeFrom(bytes, length);
  }

  /** Says TLS's closing word, as far as there is room for it, and ends this direction. */
  override endSending(): void {
    this.#stream.end();
    super.endSending();
  }

  /** Remembers the end, and sees that a poll finds it: nothing more may come by the socket. */
  #endsWith(code: number): void {
    this.#end = code;
    shutdownReceiving(this.fd);
  }
}

function checkRoom(length: number): void {
  if (length < RECORD_BYTES) throw new RangeError(`Room for less than a TLS record: ${length}`);
}
