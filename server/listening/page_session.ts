/** One client that is served an image, over one pair of connections. */

import type { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { Caller, type CallerConnection } from "../outgoing/caller.ts";
import { Source } from "../source.ts";
import type { PageServerEvent, PageSessionStatistics } from "./page_server_event.ts";
import type { ServedImage, SessionOrder } from "./served_image.ts";

/** What a session is made from. */
export interface PageSessionInit {
  readonly id: number;
  readonly image: ServedImage;
  /** Both are the session's from here on. */
  readonly main: CallerConnection & { readonly name: string };
  readonly preempt: CallerConnection;
  /** Whether the client says first what it has. */
  readonly recover: boolean;
  readonly order: SessionOrder | undefined;
  readonly source: {
    readonly maxPostcopyBandwidth: number;
    readonly stallTimeout: number;
    readonly pool: ThreadPool;
  };
  readonly tell: (event: PageServerEvent) => void;
}

/** Runs a source over connections that a client has made. */
export class PageSession {
  readonly #init: PageSessionInit;
  readonly #caller: Caller;
  readonly #source: Source;

  /** @throws {RangeError} for an order with pages that are not there */
  constructor(init: PageSessionInit) {
    this.#init = init;
    const { image, main, preempt, recover, order, source, tell } = init;
    this.#caller = new Caller(main, preempt);
    this.#source = new Source(image.image, {
      ...source,
      ...order?.options,
      warm: 0, // nobody waits for it: what goes before the guest runs would only keep a fault waiting
      caller: this.#caller,
      to: { transport: "tcp", host: main.name, port: 0 },
      recover,
      onNote: (text) => tell({ event: "note", text }),
    });
  }

  /** The figures so far. */
  statistics(): PageSessionStatistics {
    const { id, image, main } = this.#init;
    const { ram } = this.#source.statistics();
    return {
      id,
      client: main.name,
      image: image.name,
      requests: ram["postcopy-requests"],
      pages: ram.normal + ram.duplicate,
      bytes: ram.transferred,
      remaining: ram.remaining / ram["page-size"],
    };
  }

  /** Serves until the client has everything, or a connection ends. */
  async run(): Promise<void> {
    const { id, image, main, recover, order, tell } = this.#init;
    const event = recover ? "resumed" : "begun";
    tell({ event, id, client: main.name, image: image.name });
    for (const text of order?.notes ?? []) tell({ event: "note", text });
    let reason: string | undefined;
    try {
      await this.#source.run();
    } catch (error) {
      reason = reasonOf(error);
    }
    const complete = reason === undefined;
    const holdBack = order?.options.holdBack ?? 0;
    // What came before anybody wanted it tells nothing of whether it is wanted.
    const seen = complete && holdBack > 0;
    for (const text of await order?.keep(this.#source, { recover, holdBack }, seen) ?? []) {
      tell({ event: "note", text });
    }
    tell({
      event: "ended",
      ...this.statistics(),
      complete,
      ...reason === undefined ? {} : { reason },
    });
  }

  /** Ends it, and frees what is its. Closing again does nothing. */
  async close(): Promise<void> {
    await this.#source.close();
    this.#caller[Symbol.dispose]();
  }
}

/** What a connection ended with, without the advice for a guest that runs at a destination. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error;
  return cause instanceof Error && message.startsWith(`${cause.message}: `)
    ? cause.message
    : message;
}
