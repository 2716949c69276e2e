/** What is said to the server of a remote image. */

import type { SendingEnd } from "../../../channel/sending_end.ts";
import { ReturnPathEncoder } from "../../../migration/protocol/return_path_encoder.ts";
import { PiecewiseSender } from "../../return_path/piecewise_sender.ts";
import { encodePingAnswer } from "../../return_path/ping_answer.ts";
import type { ReceivedBitmaps } from "../../return_path/received_bitmaps.ts";

/** Value of RESUME_ACK, the only one there is. */
const RESUME_VALUE = 1;
/** Bytes that wait to be sent from which on no more requests are added. */
const ENOUGH = 32 * 1024;

/** The return path: messages in the order in which they may follow each other, as the socket takes them. */
export class RemoteVoice {
  readonly #end: SendingEnd;
  readonly #encoder = new ReturnPathEncoder();
  readonly #sender: PiecewiseSender;
  #bitmaps: ReceivedBitmaps | undefined;

  /** @param end of the connection */
  constructor(end: SendingEnd) {
    this.#end = end;
    this.#sender = new PiecewiseSender(end, () => this.#next());
  }

  /** What to poll for room. */
  get fd(): number {
    return this.#end.fd;
  }

  /** Whether so much waits to be said that requests had better wait too. */
  get busy(): boolean {
    return this.#encoder.length >= ENOUGH || this.#sender.waits;
  }

  /** Answers a PING. */
  pong(value: number): void {
    encodePingAnswer(this.#encoder, value);
  }

  /** Asks for pages. */
  request(block: string, start: number, length: number): void {
    this.#encoder.requestPages(block, start, length);
  }

  /** Says which pages of a block are here; nothing else is said before that is through. */
  wantBitmap(bitmaps: ReceivedBitmaps, index: number): void {
    this.#bitmaps = bitmaps;
    bitmaps.want(index);
  }

  /** Says, behind the bitmaps and before any request, that pages may come. */
  acknowledgeResume(): void {
    this.#encoder.resumeAck(RESUME_VALUE);
  }

  /** Says that all is here. */
  shut(): void {
    this.#encoder.shut(0);
  }

  /** Ends the connection in both directions. */
  hangUp(): void {
    this.#end.hangUp();
  }

  /**
   * Gives the socket what it takes now.
   *
   * @returns false while something waits for room
   * @throws {MigrationError} when the server is gone
   */
  flush(): boolean {
    return this.#sender.flush();
  }

  /** Takes the next piece; empty when there is none. */
  #next(): Uint8Array {
    // A bitmap is a message of several pieces: nothing may come between them.
    return this.#bitmaps?.pending === true ? this.#bitmaps.next() : this.#encoder.take();
  }
}
