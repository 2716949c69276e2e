/** A scripted source that comes again, as QEMU's does: it asks what is here, and sends the rest. */

import { assert, assertEquals } from "@std/assert";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { type Heard, type HeardResuming, HostileSource } from "../hostile/scripted_source.ts";
import { until } from "../support/deadline.ts";
import { PAGES, type Reception } from "./received.ts";

/** The connections of one attempt. */
export class ResumingSource extends HostileSource {
  readonly #count: number;

  constructor(to: SocketAddress, blocks: Readonly<Record<string, number>> = { ram: 64 }) {
    super(to, blocks);
    this.#count = Object.keys(blocks).length;
  }

  /** Reads what it is told until something holds; false when the connection ended first. */
  async listen(holds: (heard: Heard, resuming: HeardResuming) => boolean): Promise<boolean> {
    await this.hear(holds);
    return holds(this.heard, this.resuming);
  }

  /** Asks for all bitmaps, and waits for them. Returns whether they came. */
  async ask(): Promise<boolean> {
    this.encodeRecovery();
    await this.flush();
    return await this.listen((_, { bitmaps }) => bitmaps.size === this.#count);
  }

  /** Resumes, and waits to be told that it may. */
  async resume(): Promise<boolean> {
    this.stream.command({ kind: "resume" });
    await this.flush();
    return await this.listen((_, { acks }) => acks.length > 0);
  }
}

/** Switches, sends pages and breaks off. */
export async function breakOff(reception: Reception, pages: readonly number[]): Promise<void> {
  const { source, receiver } = reception;
  await source.connectAndSwitch();
  await source.sendPages(pages);
  await until("the pages", () => receiver.statistics().remaining === PAGES - pages.length);
  source[Symbol.dispose]();
  await reception.pauses();
}

/** Comes again and sends all that is missing. */
export async function resumeAll(to: SocketAddress): Promise<ResumingSource> {
  const source = new ResumingSource(to);
  await source.connect();
  assert(await source.ask());
  assert(await source.resume());
  await source.sendLast(source.missing());
  assert(await source.listen(({ shuts }) => shuts.length > 0));
  assertEquals(source.heard.shuts, [0]);
  return source;
}
