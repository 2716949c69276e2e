/** How the background stream keeps out of the way of urgent pages. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { SendingEnd } from "../../channel/sending_end.ts";
import type { Steps } from "../../migration/threads/task.ts";
import type { SourceState } from "./source_state.ts";
import { PaceMeter } from "./pace_meter.ts";
import { batchBytes, type Manners, manners } from "./stream_policy.ts";
import type { Turns } from "./turns.ts";

/** Nanoseconds between two looks at what is on the wire. */
const WIRE_INTERVAL = 50e3;
/** Nanoseconds after which the stream goes on whatever is on the wire: a peer may acknowledge late. */
const LONGEST_YIELD = 40e6;
/** Nanoseconds between two looks whether an urgent request is still being served, and of all of them. */
const URGENT_INTERVAL = 50e3;
const LONGEST_URGENT = 2e6;

/** A stream, of which pages are left. */
export interface StreamInit {
  /** Pages that are to be sent, by whomever. */
  readonly pages: number;
  /** Bytes of one. */
  readonly pageBytes: number;
  /** Whether it is held below a bandwidth. */
  readonly limited: () => boolean;
}

/** Waits between two batches while pages are asked for. */
export class LinkCourtesy {
  readonly #main: SendingEnd;
  readonly #state: SourceState;
  readonly #turns: Turns;
  readonly #stream: StreamInit;
  readonly #segment: number;
  /** Pages that had been sent because they were asked for when the stream began. */
  readonly #requestedBefore: number;
  readonly #meter = new PaceMeter();
  #streamed = 0;
  #bytes = 0;
  #manners: Manners;

  /**
   * @param main the main channel
   * @param state of the migration
   * @param turns the task's waits
   * @param stream what is to be sent
   */
  constructor(main: SendingEnd, state: SourceState, turns: Turns, stream: StreamInit) {
    this.#main = main;
    this.#state = state;
    this.#turns = turns;
    this.#stream = stream;
    this.#segment = main.segmentBytes;
    this.#requestedBefore = this.#requested;
    this.#manners = this.#judge();
  }

  /** A batch was sent: pages that nobody asked for, and their bytes on the wire. */
  sent(pages: number, bytes: number): void {
    this.#streamed += pages;
    this.#bytes += bytes;
  }

  /** Starts no batch while an urgent request is being served; but not for long. */
  *yieldUrgent(): Steps {
    const begin = monotonicNanoseconds();
    if (!this.#look(begin).yields) return;
    do yield* this.#turns.doze(URGENT_INTERVAL); while (
      this.#state.servesUrgent && monotonicNanoseconds() < begin + LONGEST_URGENT
    );
  }

  /**
   * Lets the link's queue run low, for the pages that are asked for meanwhile.
   *
   * @returns most bytes of the next batch
   */
  *yieldWire(now: number): Steps<number> {
    const { wire, patience } = this.#look(now);
    let naps = 0;
    for (; this.#main.unacknowledged > wire; naps++) {
      if (this.#state.stopped || (yield* this.#turns.nap(WIRE_INTERVAL))) break;
      if (monotonicNanoseconds() > now + LONGEST_YIELD) break;
    }
    return batchBytes(wire, naps > patience);
  }

  #look(now: number): Manners {
    if (this.#meter.due(now)) {
      this.#meter.sample(now, this.#bytes - this.#main.unacknowledged);
      this.#manners = this.#judge();
    }
    return this.#manners;
  }

  #judge(): Manners {
    const { pages, pageBytes, limited } = this.#stream;
    const left = pages - this.#streamed - (this.#requested - this.#requestedBefore);
    return manners({
      pace: this.#meter.pace,
      roundTrip: this.#main.roundTrip,
      segment: this.#segment,
      left: left * pageBytes,
      limited: limited(),
    });
  }

  get #requested(): number {
    const { pages, zeroPages } = this.#state.urgent;
    return pages + zeroPages;
  }
}
