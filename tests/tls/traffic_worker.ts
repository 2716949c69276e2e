/** Worker entry: one thread of an end, which writes or reads a known sequence of bytes on a session. */

import { Errno } from "../../ffi/errno.ts";
import { PollSet } from "../../ffi/poll.ts";
import { openSsl } from "../../ffi/tls/libssl.ts";
import { sharedParts } from "../../ffi/tls/session.ts";
import { SessionLock } from "../../ffi/tls/session_lock.ts";
import { TlsStream } from "../../ffi/tls/stream.ts";
import { Progress, type TrafficJob, type TrafficReport } from "./traffic.ts";

/** Of the pattern: no multiple of a record's or a write's length, so that nothing shifted looks right. */
const PERIOD = 65_521;
const LONGEST = 40_000;

/** The sequence, long enough to take any piece from one place. */
function pattern(seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(PERIOD + LONGEST);
  let state = seed * 2 + 1;
  for (let at = 0; at < PERIOD; at++) {
    state = Math.imul(state, 1_664_525) + 1_013_904_223;
    bytes[at] = state >>> 24;
  }
  bytes.copyWithin(PERIOD, 0, LONGEST);
  return bytes;
}

/** Lengths of pieces, multiples of a unit: small ones and more than a record. */
function* lengths(unit: number): Generator<number, never> {
  for (let state = 7;;) {
    state = Math.imul(state, 1_103_515_245) + 12_345 & 0x7fff_ffff;
    const most = state % 5 === 0 ? 300 : LONGEST;
    yield unit * (1 + state % (most / unit | 0));
  }
}

/** SSL_KEY_UPDATE_REQUESTED of openssl/ssl.h: the other end changes its keys too. */
const KEY_UPDATE_REQUESTED = 1;

/**
 * Changes the keys again and again, but each time only when the other end has answered: OpenSSL 3.0 breaks
 * a session in which a second change comes while the answer to the first waits for a record to be sent.
 */
class Updates {
  readonly #session: bigint;
  readonly #lock: SessionLock;
  readonly #progress: Int32Array;
  #sentThen = -1;
  /** Writes of the other end when it was found to have read the change; -1: not yet. */
  #writesThen = -1;

  constructor({ session, progress }: TrafficJob) {
    this.#session = BigInt(session.address);
    this.#lock = new SessionLock(sharedParts(session).words);
    this.#progress = new Int32Array(progress);
  }

  /** After a write: begins a change if the last one is over. */
  next(sent: number): void {
    const writes = Atomics.load(this.#progress, Progress.WRITES);
    if (this.#sentThen >= 0) {
      if (Atomics.load(this.#progress, Progress.READ) <= this.#sentThen) return;
      if (this.#writesThen < 0) this.#writesThen = writes;
      // One may have been under way; the answer is in front of the next.
      if (writes < this.#writesThen + 2) return;
    }
    this.#lock.acquire();
    const begun = openSsl().SSL_key_update(this.#session, KEY_UPDATE_REQUESTED);
    this.#lock.release();
    if (begun !== 1) throw new Error("SSL_key_update failed");
    Atomics.add(this.#progress, Progress.UPDATES, 1);
    this.#sentThen = sent;
    this.#writesThen = -1;
  }
}

const poll = new PollSet(1);

function wait(stream: TlsStream): void {
  poll.watch(0, stream.fd, stream.wants);
  if (poll.wait(30_000) === 0) throw new Error(`Waited 30 s for events: ${stream.wants}`);
}

function write(stream: TlsStream, job: TrafficJob): TrafficReport {
  const { seed, bytes } = job;
  const source = pattern(seed);
  // As long as a change of keys at least: a shorter write fails behind one that waits for room.
  const sizes = lengths(8);
  const updates = job.updates ? new Updates(job) : undefined;
  const progress = new Int32Array(job.progress);
  let sent = 0;
  const enough = () =>
    sent >= bytes && Atomics.load(progress, Progress.UPDATES) >= job.wantedUpdates;
  // The library says no closing word before a change that was begun is written: one more piece.
  for (let last = false; !last;) {
    last = enough();
    const length = last ? LONGEST : sizes.next().value;
    // From a place that changes: a retry finds the same bytes elsewhere.
    let at = sent % PERIOD;
    for (let rest = length; rest > 0;) {
      const count = stream.writeFrom(source.slice(at, at + rest), rest);
      if (count === -Errno.EAGAIN) {
        wait(stream);
        continue;
      }
      if (count < 0) return { bytes: sent, failure: stream.error!.message };
      sent += count;
      at += count;
      rest -= count;
      if (updates === undefined) Atomics.add(progress, Progress.WRITES, 1);
      else if (!last) updates.next(sent);
    }
  }
  let said: number;
  while ((said = stream.end()) === -Errno.EAGAIN) wait(stream);
  return said === 0 ? { bytes: sent } : { bytes: sent, failure: stream.error!.message };
}

function read(stream: TlsStream, { seed, progress, updates }: TrafficJob): TrafficReport {
  const expected = pattern(seed);
  const sizes = lengths(1);
  const read = new Int32Array(progress);
  const buffer = new Uint8Array(LONGEST);
  let got = 0;
  while (true) {
    const count = stream.readInto(buffer, sizes.next().value);
    if (count === -Errno.EAGAIN) {
      wait(stream);
      continue;
    }
    if (count === 0) return { bytes: got, ended: true };
    if (count < 0) return { bytes: got, failure: stream.error!.message };
    const from = got % PERIOD;
    for (let at = 0; at < count; at++) {
      if (buffer[at] !== expected[from + at]) {
        return { bytes: got, failure: `Wrong byte at: ${got + at}` };
      }
    }
    got += count;
    if (!updates) Atomics.store(read, Progress.READ, got);
  }
}

/** This thread's end of its worker's port, without the types of a whole other global scope. */
const thread = globalThis as unknown as {
  onmessage: (event: MessageEvent<TrafficJob>) => void;
  postMessage(report: TrafficReport): void;
};

thread.onmessage = ({ data }: MessageEvent<TrafficJob>) => {
  let report: TrafficReport;
  try {
    const stream = new TlsStream(data.session);
    report = data.direction === "write" ? write(stream, data) : read(stream, data);
  } catch (error) {
    report = { bytes: 0, failure: String(error) };
  }
  thread.postMessage(report);
};
