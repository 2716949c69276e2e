/** Pages from the page server of a `criu dump --lazy-pages`: many requests on the way, urgent ones first. */

import { ReceivingEnd } from "../../../channel/receiving_end.ts";
import { ReceiveBuffer } from "../../../channel/receive_buffer.ts";
import { SendingEnd } from "../../../channel/sending_end.ts";
import { FROM_SOURCE } from "../../../channel/role.ts";
import { MigrationError } from "../../../migration/migration_error.ts";
import { BASE_PAGE } from "../region.ts";
import type { KnownPage, PageServer } from "./criu_task.ts";
import { PageCommand, PageHeader } from "./page_server_words.ts";

/** Who wants pages. */
export interface PageTaker {
  /** Its number in CRIU's images. */
  readonly imageId: number;
  /**
   * Takes pages that have come.
   *
   * @param page number of the first
   * @param count how many lie behind each other
   * @param from address of their bytes, until this returns
   * @param urgent whether somebody waited for them when they were asked for
   * @returns how many are done with; 0: none can be placed now, try again in the next step
   */
  take(page: number, count: number, from: number, urgent: boolean): number;
  /** Pages that were asked for will not come; they may be asked for again. */
  miss(page: number, count: number): void;
}

interface Request {
  readonly taker: PageTaker;
  readonly page: number;
  readonly address: number;
  readonly count: number;
  readonly urgent: boolean;
}

/** Bytes received at a time. */
const BUFFER_BYTES = 1024 * 1024;
/** The answer to CLOSE. */
const CLOSED_BYTES = 4;

/**
 * The connection to a page server. It answers in the order of requests, so an urgent one waits for what is on
 * the way before it: whoever asks for pages that nobody waits for looks at {@linkcode PageServerLink.pagesOnWay}.
 */
export class PageServerLink implements Disposable {
  readonly #name: string;
  readonly #buffer = new ReceiveBuffer(BUFFER_BYTES);
  readonly #sending: SendingEnd;
  readonly #receiving: ReceivingEnd;
  readonly #header: PageHeader;
  readonly #reply: PageHeader;
  /** Those that are not answered in full, oldest first. */
  readonly #requests: Request[] = [];
  #pagesOnWay = 0;
  /** Of the oldest: pages that its answer brings, and those that are done with. 0: its header has not come. */
  #coming = 0;
  #done = 0;
  #closing = false;
  #closed = false;
  #lost: Error | undefined;
  #blocked = false;
  #answered = false;
  /** As long as it is not known where the next answer begins, nothing is asked but for this page. */
  #resumeBy: KnownPage | undefined;
  readonly #known: KnownPage[];

  constructor(server: PageServer) {
    this.#name = server.name;
    this.#sending = new SendingEnd(server.connection, FROM_SOURCE.MAIN);
    const { address, bytes, capacity } = this.#buffer;
    const input = { address, bytes, capacity };
    this.#receiving = new ReceivingEnd(server.connection, FROM_SOURCE.MAIN, input);
    this.#header = new PageHeader(server.headerBytes);
    this.#reply = new PageHeader(server.headerBytes);
    const { lost, resumeBy = [] } = server;
    this.#known = [...resumeBy];
    if (lost !== undefined) {
      this.#answered = true; // it was not for its version
      this.#lose(new Error(lost));
    } else this.#resume();
  }

  /** What to poll for answers. */
  get fd(): number {
    return this.#receiving.fd;
  }

  /** Pages that were asked for and are not here yet. */
  get pagesOnWay(): number {
    return this.#pagesOnWay;
  }

  /** Why no page can be had any more; undefined as long as they can. */
  get lost(): Error | undefined {
    return this.#lost;
  }

  /** True when a page that is here could not be placed: it is to be tried again. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** True once the server has heard that all is done, or never will. */
  get closed(): boolean {
    return this.#closed || this.#lost !== undefined;
  }

  /**
   * Asks for pages.
   *
   * @param page number of the first, the taker's
   * @param address of the first, as it was dumped
   */
  ask(taker: PageTaker, page: number, address: number, count: number, urgent: boolean): void {
    if (this.#lost !== undefined) return taker.miss(page, count);
    this.#requests.push({ taker, page, address, count, urgent });
    this.#pagesOnWay += count;
    if (this.#resumeBy === undefined) this.#say(PageCommand.GET, count, address, taker.imageId);
  }

  /** Takes what has come, and gives the pages to who wants them. */
  step(): void {
    if (this.#lost !== undefined) return;
    try {
      this.#blocked = false;
      this.#receiving.decode(this);
      // As long as pages cannot be placed there may be no room, and nothing received is what ends it.
      for (let came = 0; !this.#blocked && came < BUFFER_BYTES;) {
        const count = this.#receiving.receive();
        if (count === 0) break;
        came += count;
        this.#receiving.decode(this);
      }
      if (this.#receiving.ended && !this.#blocked && !this.#closed) throw this.#receiving.lost();
    } catch (error) {
      this.#lose(error);
    }
  }

  /** Says that all is there: the dump ends well, and what was dumped ends at the source. */
  close(): void {
    if (this.#closing || this.#lost !== undefined || this.#resumeBy !== undefined) return;
    this.#closing = true;
    this.#say(PageCommand.CLOSE);
  }

  /** Frees its memory; the connection is the owner's. */
  [Symbol.dispose](): void {
    this.#buffer.close();
  }

  /** See {@linkcode ReceivingEnd.decode}. */
  decode(bytes: Uint8Array, start: number, end: number): number {
    let at = this.#resumeBy === undefined ? start : this.#seekAnswer(bytes, start, end);
    while (!this.#blocked && this.#resumeBy === undefined) {
      if (this.#coming === 0) {
        if (this.#requests.length === 0) return this.#decodeClosed(at, end);
        if (end - at < this.#reply.length) return at;
        this.#reply.read(bytes, at);
        const problem = this.#accept();
        if (problem !== undefined) {
          // What was taken for the answer sought may have been one to the same question of another.
          if (this.#resume()) return this.#seekAnswer(bytes, at, end);
          throw problem;
        }
        at += this.#reply.length;
      }
      const whole = Math.min(Math.floor((end - at) / BASE_PAGE), this.#coming - this.#done);
      if (whole === 0) return at;
      at += this.#give(whole, this.#buffer.address + at) * BASE_PAGE;
    }
    return at;
  }

  /**
   * Goes on with a connection by which another has asked: what it asked for comes yet, from anywhere on. Nothing
   * comes behind the answer to what is asked now, so its end is where all that has come ends.
   *
   * @returns false when there is no page to ask for
   */
  #resume(): boolean {
    const page = this.#known.pop();
    if (page === undefined) return false;
    this.#resumeBy = page;
    this.#answered = true;
    this.#say(PageCommand.GET, 1, page.address, page.imageId);
    return true;
  }

  /** Drops what was for another; returns where what it leaves begins. */
  #seekAnswer(bytes: Uint8Array, start: number, end: number): number {
    const at = end - this.#reply.length - BASE_PAGE;
    if (at < start) return start;
    this.#reply.read(bytes, at);
    const { hasPages, pages, address, id } = this.#reply;
    const known = this.#resumeBy!;
    const found = hasPages && pages === 1 && address === known.address && id === known.imageId;
    if (!found) return at + 1;
    this.#resumeBy = undefined;
    for (const { address, count, taker } of this.#requests) {
      this.#say(PageCommand.GET, count, address, taker.imageId);
    }
    return end;
  }

  /** Hands pages over; returns how many are done with. */
  #give(count: number, from: number): number {
    const { taker, page, urgent } = this.#requests[0]!;
    const done = taker.take(page + this.#done, count, from, urgent);
    this.#blocked = done === 0;
    this.#done += done;
    this.#pagesOnWay -= done;
    if (this.#done === this.#coming) this.#endReply();
    return done;
  }

  #endReply(): void {
    const { taker, page, count } = this.#requests.shift()!;
    const rest = count - this.#done; // it gives no more than lie behind each other there
    this.#pagesOnWay -= rest;
    if (rest > 0) taker.miss(page + this.#done, rest);
    this.#coming = 0;
    this.#done = 0;
  }

  /** Sees that an answer is one to the oldest request; returns what is wrong. */
  #accept(): MigrationError | undefined {
    const { hasPages, pages, address, id } = this.#reply;
    const request = this.#requests[0]!;
    const right = hasPages && pages > 0 && pages <= request.count && address === request.address &&
      id === request.taker.imageId;
    if (!right) {
      return new MigrationError(
        "BAD_PEER",
        `Page server ${this.#name} answers what was not asked: ${pages} pages at 0x` +
          `${address.toString(16)} of ${id}, not ${request.count} at 0x` +
          `${request.address.toString(16)} of ${request.taker.imageId}`,
      );
    }
    this.#coming = pages;
    this.#answered = true;
    return undefined;
  }

  #decodeClosed(at: number, end: number): number {
    if (!this.#closing || end - at < CLOSED_BYTES) return at;
    this.#closed = true;
    return at + CLOSED_BYTES;
  }

  #say(command: number, pages?: number, address?: number, id?: number): void {
    try {
      this.#header.make(command, pages, address, id);
      this.#sending.sendMessage(this.#header.bytes);
    } catch (error) {
      this.#lose(error);
    }
  }

  /** One of another version understands nothing, and goes. */
  #versionRemedy(): string {
    return this.#reply.length === 24
      ? "if its CRIU is 4.2 or newer, say --criu-version 4.2 next time"
      : "if its CRIU is 4.1 or older, leave --criu-version out next time";
  }

  #lose(error: unknown): void {
    const text = error instanceof Error ? error.message : `${error}`;
    this.#lost = new MigrationError(
      "CONNECTION_LOST",
      `Page server ${this.#name} is lost, and with it the pages that have not come: ${text}` +
        (this.#answered ? "" : `: ${this.#versionRemedy()}`),
      { cause: error },
    );
    this.#pagesOnWay = 0;
    const done = this.#done;
    this.#requests.splice(0).forEach(({ taker, page, count }, index) => {
      const taken = index === 0 ? done : 0;
      taker.miss(page + taken, count - taken);
    });
  }
}

/**
 * Ends a dump as one that failed, so that what was dumped goes on at the source: a mere end of the connection
 * counts as one that ended well, and kills it there. For who is connected and has nothing else to say.
 */
export function giveUpDump({ connection, headerBytes }: PageServer): void {
  const header = new PageHeader(headerBytes);
  header.make(PageCommand.GIVE_UP);
  try {
    new SendingEnd(connection, FROM_SOURCE.MAIN).sendMessage(header.bytes);
  } catch {
    // It is gone, and has decided by itself.
  }
}
