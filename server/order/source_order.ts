/** The order of a source's pages: what its owner wants sent first, and what was asked for in the end. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { AskedPages } from "./asked_pages.ts";
import type { OrderInit } from "./order_init.ts";
import { nameRuns, type PageRun } from "./page_run.ts";
import { RequestLog } from "./request_log.ts";
import { SendPlan } from "./send_plan.ts";

/** What a source does by an order, and notes of one. */
export interface OrderOptions {
  /**
   * Pages that go first, the most wanted in front, for example as an earlier restore asked for them, or for a first
   * one those of `hotPages`. As many as go in `warm` milliseconds are sent before the guest runs, the others before
   * all that is not named. Read once, when the source is made; what is named twice, or beyond 262144 host pages, is
   * left out.
   */
  readonly order?: Iterable<PageRun>;
  /**
   * Milliseconds that pages of `order` may take before the guest runs, by what the connection takes; default
   * 50, at most 60000. 0: none is sent before.
   */
  readonly warm?: number;
  /** Whether is noted what is asked for, for `Source.requested`; default false. */
  readonly noteRequests?: boolean;
  /**
   * Milliseconds from the guest's start for which nothing is sent that it does not ask for, so that all that it
   * touches is seen; default 0. As long as it is not 0, `order` is not sent first, but compared with what is asked
   * for.
   */
  readonly holdBack?: number;
}

/**
 * Milliseconds for what goes before the guest runs, where nothing else is said. They delay its start, and what
 * they save is lost work. A redis with a full order of 21 MB, start and work lost together (bench:disruption,
 * medians of three and four runs): on a free link with 0 ms 507, with 25 to 50 ms 469 to 560, with 200 ms 539; at
 * 100 MiB/s 656, 606 (50 ms), 717 (100 ms), 754 (200 ms) and 1020 (400 ms). Sent behind RUN a list does nearly as
 * much, so more time pays only on a link that is much slower than the guest.
 */
export const DEFAULT_WARM = 50;

/** A minute. */
export const MOST_WARM = 60_000;
/** A day. */
const MOST_HOLD_BACK = 86_400_000;

/** One source's. */
export class SourceOrder {
  /** What goes first; undefined when there is none. */
  readonly plan: SendPlan | undefined;
  /** Milliseconds for what goes before the guest runs. */
  readonly warm: number;
  readonly #layout: RamLayout;
  readonly #log: RequestLog | undefined;
  readonly #holdBack: number;
  #asked: AskedPages | undefined;

  /**
   * @param layout the blocks
   * @param options of the source
   * @throws {RangeError} for pages that are not in the layout, or a time that cannot be
   */
  constructor(layout: RamLayout, options: OrderOptions) {
    const { order, noteRequests = false } = options;
    const holdBack = checkTime("holdBack", options.holdBack ?? 0, MOST_HOLD_BACK);
    const warm = checkTime("warm", options.warm ?? DEFAULT_WARM, MOST_WARM);
    this.#layout = layout;
    this.#holdBack = holdBack;
    this.warm = holdBack > 0 ? 0 : warm;
    const plan = order && SendPlan.of(layout, order);
    this.plan = plan?.count === 0 ? undefined : plan;
    this.#log = noteRequests ? new RequestLog(layout) : undefined;
  }

  /** For the threads; undefined when there is nothing to be done. */
  get init(): OrderInit | undefined {
    if (this.plan === undefined && this.#log === undefined && this.#holdBack === 0) {
      return undefined;
    }
    return {
      ...this.plan === undefined ? {} : { plan: this.plan.buffer },
      ...this.#log === undefined ? {} : { log: this.#log.buffer },
      sends: this.#holdBack === 0,
      holdBack: this.#holdBack,
    };
  }

  /** What was asked for so far, each page once, in the order in which it was asked for first. */
  requested(): Generator<Required<PageRun>> {
    return this.#name([...new Set(this.#log?.read())]);
  }

  /** Which pages were asked for so far; undefined unless that is noted. Reads what came since the last call. */
  asked(): PageBitmap | undefined {
    if (this.#log === undefined) return undefined;
    this.#asked ??= new AskedPages(this.#layout, this.#log);
    return this.#asked.pages;
  }

  /** Pages of the order that went before the guest ran, or that the destination was told are not there. */
  sentEarly(): Generator<Required<PageRun>> {
    const { plan } = this;
    return this.#name(Array.from({ length: plan?.warm ?? 0 }, (_, place) => plan!.at(place)));
  }

  /** Names host pages, of which the first target pages are given. */
  #name(first: readonly number[]): Generator<Required<PageRun>> {
    const layout = this.#layout;
    if (!layout.hasHugePages) return nameRuns(layout, Int32Array.from(first));
    const pages = first.flatMap((page) => {
      const { pagesPerHostPage } = layout.blockOf(page);
      return Array.from({ length: pagesPerHostPage }, (_, index) => page + index);
    });
    return nameRuns(layout, Int32Array.from(pages));
  }
}

function checkTime(name: string, milliseconds: number, most: number): number {
  if (milliseconds >= 0 && milliseconds <= most) return milliseconds;
  throw new RangeError(`${name} must be milliseconds from 0 to ${most}: ${milliseconds}`);
}
