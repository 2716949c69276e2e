/** What is said to the source of an image. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { FROM_SOURCE } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import type { SwitchoverAckInit } from "../../migration/protocol/switchover_ack.ts";
import { PiecewiseSender } from "../return_path/piecewise_sender.ts";
import { encodePingAnswer } from "../return_path/ping_answer.ts";
import type { ReceivedBitmaps } from "../return_path/received_bitmaps.ts";
import { SwitchoverApproval } from "../return_path/switchover_approval.ts";

/** Value of RESUME_ACK, the only one there is. */
const RESUME_VALUE = 1;

/**
 * The return path of an image: short messages at once, and the answers of a recovery, which are long, as
 * the socket takes them.
 */
export class ImageAnswers {
  readonly #end: SendingEnd;
  readonly #multifdChannels: number | undefined;
  readonly #approval: SwitchoverApproval;
  readonly #encoder = new ReturnPathEncoder();
  readonly #sender: PiecewiseSender;
  #bitmaps: ReceivedBitmaps | undefined;
  #acknowledges = false;
  #open = false;

  /**
   * @param main the main channel, whose other direction this is
   * @param multifdChannels that are expected beside it
   * @param approval whether the source waits for an approval of the switchover
   */
  constructor(
    main: ConnectionInit,
    multifdChannels: number | undefined,
    approval: SwitchoverAckInit | undefined,
  ) {
    this.#multifdChannels = multifdChannels;
    this.#approval = new SwitchoverApproval(approval);
    this.#end = new SendingEnd(main, FROM_SOURCE.RETURN_PATH);
    this.#sender = new PiecewiseSender(this.#end, () => this.#next());
  }

  /**
   * Goes on with the connection of a source that resumes; what was not sent by the old one is forgotten.
   *
   * @param main the new main channel
   * @param bitmaps what it will want to know
   */
  replace(main: ConnectionInit, bitmaps: ReceivedBitmaps): void {
    this.#end.replace(main);
    this.#bitmaps = bitmaps;
    this.#acknowledges = false;
    this.#sender.forget();
    this.#encoder.take();
  }

  /** Ends the connection in both directions: the source notices, and whoever reads it here. */
  hangUp(): void {
    this.#end.hangUp();
  }

  /** Whether the source listens. */
  get open(): boolean {
    return this.#open;
  }

  /** The source listens from now on. */
  setOpen(): void {
    this.#open = true;
  }

  /** What to poll for room. */
  get fd(): number {
    return this.#end.fd;
  }

  /** True when the source is gone, as far as is known here by now. */
  get peerLeft(): boolean {
    return this.#end.peerLeft;
  }

  /**
   * Answers a PING.
   *
   * @throws {MigrationError} when the source is gone, or does not listen
   */
  pong(value: number): void {
    this.#approval.asked(value);
    const multifdChannels = this.#multifdChannels;
    encodePingAnswer(this.#encoder, value, { multifdChannels, approves: this.#approval.on });
    this.#say();
  }

  /**
   * Approves the switchover, where the source waits for that: the image can take its pages.
   *
   * @param machine the machine type
   * @throws {MigrationError} when the source is gone
   */
  approve(machine: string): void {
    if (!this.#open || !this.#approval.isDue(machine)) return;
    this.#encoder.switchoverAck();
    this.#say();
  }

  /** Says how it ended; false when the source is gone. Without a return path nothing may be said. */
  shut(status: number): boolean {
    if (!this.#open) return true;
    try {
      this.#encoder.shut(status);
      this.#say();
      return true;
    } catch {
      return false;
    }
  }

  /** Will say which pages of a block are here, by {@linkcode ImageAnswers.flush}. */
  wantBitmap(index: number): void {
    this.#bitmaps?.want(index);
  }

  /** Will say, behind the bitmaps, that pages may come. */
  acknowledgeResume(): void {
    this.#acknowledges = true;
  }

  /**
   * Gives the socket what it takes now of the answers of a recovery.
   *
   * @returns false while some of them wait for room
   * @throws {MigrationError} when the source is gone
   */
  flush(): boolean {
    return this.#sender.flush();
  }

  /** Encodes the next piece; empty when there is none. */
  #next(): Uint8Array {
    if (this.#bitmaps?.pending === true) return this.#bitmaps.next();
    if (this.#acknowledges) this.#encoder.resumeAck(RESUME_VALUE);
    this.#acknowledges = false;
    return this.#encoder.take();
  }

  #say(): void {
    const message = this.#encoder.take();
    if (!this.#open) {
      throw new MigrationError("BAD_PEER", "Source wants an answer without a return path");
    }
    this.#end.sendMessage(message);
  }
}
