/** The second connection to a destination: the preempt channel, and when it is made. */

import type { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { encodePing, PING } from "../sending/control_stream.ts";
import type { Mode } from "../sending/mode.ts";
import type { SourceState } from "../sending/source_state.ts";
import type { Answer, Answers } from "./answers.ts";
import type { PreemptRules } from "./machine_type.ts";
import { PreemptConnection, preemptOff } from "./preempt_connection.ts";

/** Milliseconds for an answer that a destination with postcopy-preempt gives only when it has both channels. */
const PATIENCE = 1_000;
/** The same for the device state to be loaded, which may take longer. */
const LOADING_PATIENCE = 2_000;

/** The moments at which the channel may be made. */
export type ChannelMoment =
  /** The main channel is connected, and nothing was said there. */
  | "connected"
  /** The opening was sent there. */
  | "opened"
  /** The destination has obeyed all that was sent, and the guest is about to be handed over. */
  | "switching";

/** The link that the channel belongs to. */
export interface ChannelLink {
  readonly mode: Mode;
  readonly rules: PreemptRules;
  readonly state: SourceState;
  readonly answers: Answers;
  /** Ends the link. */
  readonly signal: AbortSignal;
  /** Connects, to be spoken to at once. */
  connect(to: SocketAddress): Promise<Socket>;
  /** Sends on the main channel, while no task does. */
  send(bytes: Uint8Array): Promise<void>;
  /** Waits until the destination has obeyed all that was sent before a PING. */
  obeyed(ping: number): Promise<void>;
  /** Ends the link when the channel was closed too early. */
  lost(reason: Error): Promise<void>;
  /** Tells the user. */
  note(text: string): void;
}

/**
 * Makes the preempt channel when the destination is ready to tell it from the main channel. A destination
 * with postcopy-preempt waits for it in every mode: the mode vanilla has no use for it, but makes it when it
 * is waited for.
 */
export class SecondChannel implements Disposable {
  readonly #link: ChannelLink;
  #to: SocketAddress | undefined;
  #connection: PreemptConnection | undefined;

  /** @param link the link */
  constructor(link: ChannelLink) {
    this.#link = link;
  }

  /** True when a page may have been lost with a channel that the destination closed too early. */
  get lostPages(): boolean {
    const { pages, zeroPages } = this.#link.state.urgent;
    return this.#connection?.lost === true && pages + zeroPages > 0;
  }

  /** Settles when the channel is watched no more. */
  get watched(): Promise<void> {
    return this.#connection?.watched ?? Promise.resolve();
  }

  /**
   * Makes the channel if this is the moment for it; called at each.
   *
   * @param to where the destination listens
   * @throws {MigrationError} when the destination does not take it, or closes it before the guest is there
   */
  async open(to: SocketAddress, moment: ChannelMoment): Promise<void> {
    const { mode, rules } = this.#link;
    this.#to = to;
    if (moment === "opened") return await this.#openIfAwaited(PING.RETURN_PATH, PATIENCE);
    const due = mode !== "vanilla" && (moment === "switching" || rules.connectAtOnce);
    if (due && this.#connection === undefined) await this.#connect();
    if (moment === "switching") await this.#prove();
  }

  /**
   * Makes the channel of a migration that goes on, before a byte is sent on the main channel.
   *
   * @throws {MigrationError} when the destination does not take it
   */
  async reopen(to: SocketAddress): Promise<void> {
    const { mode, rules } = this.#link;
    this.#to = to;
    if (mode !== "vanilla") await this.#connect();
    else if (rules.awaited) await this.#connectSpare();
  }

  /** Makes the channel also when it turns out that the destination takes no guest without it. */
  openIfLoadingAwaits(): void {
    if (this.#link.mode !== "vanilla" || this.#link.state.guestLoaded) return;
    this.#openIfAwaited(PING.LOADED, LOADING_PATIENCE).catch(() => {}); // the link has ended
  }

  /** Makes the channel also when it turns out that the destination hears of no recovery without it. */
  openIfRecoveryAwaits(): void {
    this.#openIfAwaited("bitmaps", PATIENCE).catch(() => {}); // the link has ended
  }

  /** Closes the channel. */
  close(): void {
    this.#connection?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Makes the channel when an answer does not come that should: one that waits for it says nothing. */
  async #openIfAwaited(answer: Answer, patience: number): Promise<void> {
    const { mode, state, answers, signal } = this.#link;
    const asked = state.returnPath.requests;
    if (this.#connection !== undefined) return;
    if (await answers.heard(answer, patience, signal)) {
      // Only the rules of 8.0 let a destination read this without the channel.
      if (answer === PING.RETURN_PATH) state.endsPreempt = false;
      return;
    }
    // One that asks for pages does not wait for anything else.
    if (state.returnPath.requests !== asked) return;
    if (mode !== "vanilla") return await this.#connect();
    await this.#connectSpare();
    this.#tellWhenAwaited(answer).catch(() => {}); // the link has ended
  }

  /** A slow destination answers too: only one that has kept the channel has waited for it. */
  async #tellWhenAwaited(answer: Answer): Promise<void> {
    const { answers, signal, rules } = this.#link;
    await answers.heard(answer, Infinity, signal);
    if (this.#connection === undefined || this.#connection.closed) return;
    rules.awaited = true;
    this.#link.note(AWAITED);
  }

  /**
   * Sees that the destination has taken all that came before the guest, and has kept the channel: to one that
   * refuses the machine, or would lose pages, no guest is handed over.
   */
  async #prove(): Promise<void> {
    await this.#link.send(encodePing(PING.CHANNELS));
    await this.#link.obeyed(PING.CHANNELS);
    if (this.#link.mode === "vanilla" || !this.#connection!.closed) return;
    await this.#link.lost(preemptOff());
    this.#link.signal.throwIfAborted();
  }

  async #connect(): Promise<void> {
    const { state, signal } = this.#link;
    const connection = await this.#make();
    const mayClose = () => state.backgroundEnded; // all is sent
    connection.watch(signal, mayClose, (error) => {
      const off = error.code === "PEER_FAILED" && !state.switched;
      return this.#link.lost(off ? preemptOff() : error);
    });
  }

  /** Makes one that nothing is sent on: a destination that does not want it may refuse or close it. */
  async #connectSpare(): Promise<void> {
    // Before the destination can go on: what it asks for after the end of the stream nobody would send.
    this.#link.state.endsPreempt = true;
    try {
      await this.#make();
    } catch {
      this.#link.signal.throwIfAborted();
    }
  }

  async #make(): Promise<PreemptConnection> {
    const { signal, state } = this.#link;
    const connect = () => this.#link.connect(this.#to!);
    const connection = await PreemptConnection.connect(connect, signal);
    if (signal.aborted) connection.close(); // nobody else would
    signal.throwIfAborted();
    this.#connection = connection;
    state.preemptFd = connection.fd;
    return connection;
  }
}

/** What is told about a destination that waits for a channel that the mode vanilla has no use for. */
const AWAITED =
  "The destination has postcopy-preempt on and waited for a second channel: it has one now, " +
  "but in the mode vanilla pages that are asked for go on the main channel: use --mode preempt-full, or turn " +
  "the capability off there";
