/** How much of a shaped link a migration uses, as the network device counts it. */

import { commandPath } from "../../tools/find_command.ts";
import type { Link } from "../support/link.ts";

/** What a device had sent at a time. */
export interface LinkSample {
  /** ms, on the clock of `performance.now()`. */
  readonly at: number;
  /** Bytes sent since the first sample. */
  readonly bytes: number;
}

/** What came of it. */
export interface LinkUse {
  /** Share of the rate, 0 to 1. */
  readonly share: number;
  /** ms in which pages flowed. */
  readonly flowing: number;
}

/** Between two samples, ms. */
const INTERVAL = 10;
/** Bytes at the begin and at the end that are left out: handshakes and device state. */
const EDGE = 64 * 1024;

/**
 * Works out the use of a link while pages flowed: between the first and the last 64 KiB.
 *
 * @param samples in order of time
 * @param wireBytes bytes on the wire for each byte that the samples count
 * @param rate bits a second of the link
 */
export function linkUse(samples: readonly LinkSample[], wireBytes: number, rate: number): LinkUse {
  const total = samples.at(-1)?.bytes ?? 0;
  const first = samples.find(({ bytes }) => bytes >= EDGE);
  const last = samples.find(({ bytes }) => bytes >= total - EDGE);
  if (first === undefined || last === undefined || last.at <= first.at) {
    return { share: 0, flowing: 0 };
  }
  const flowing = last.at - first.at;
  const bits = (last.bytes - first.bytes) * wireBytes * 8;
  return { share: bits / (rate * flowing / 1000), flowing };
}

/**
 * Reads what the devices of a network namespace but loopback have sent.
 *
 * @param text /proc/PID/net/dev
 */
export function bytesSent(text: string): number {
  let sum = 0;
  // Two lines of headings; after a device's name 8 figures of what it received, then what it sent.
  for (const line of text.split("\n").slice(2)) {
    const [name, ...fields] = line.trim().split(/[\s:]+/);
    if (name !== "" && name !== "lo") sum += Number(fields[8]);
  }
  return sum;
}

/** Bytes that passed the shaper, headers of every packet included. */
function shaped(link: Link): number {
  const words = [...link.source.prefix, commandPath("tc"), "-s", "-j", "qdisc", "show"];
  const { stdout } = new Deno.Command(words[0]!, { args: words.slice(1) }).outputSync();
  const disciplines: { kind: string; bytes: number }[] = JSON.parse(
    new TextDecoder().decode(stdout),
  );
  return disciplines.find(({ kind }) => kind === "tbf")?.bytes ?? 0;
}

/**
 * Counts what crosses a link. A device counts a segment that the kernel cuts up later as one packet;
 * the shaper, which knows better, is asked before and after.
 */
export class LinkMeter implements Disposable {
  readonly #link: Link;
  readonly #rate: number;
  readonly #path: string;
  readonly #before: number;
  readonly #shapedBefore: number;
  readonly #samples: LinkSample[] = [];
  readonly #timer: ReturnType<typeof setInterval>;

  /**
   * Begins to count.
   *
   * @param rate bits a second of the link
   * @param pid a process at the link's source; it must live until the end
   */
  constructor(link: Link, rate: number, pid: number) {
    this.#link = link;
    this.#rate = rate;
    this.#path = `/proc/${pid}/net/dev`;
    this.#shapedBefore = shaped(link);
    this.#before = this.#read();
    this.#timer = setInterval(() => {
      try {
        this.#sample();
      } catch {
        // The process has ended: whoever waits for it says why.
      }
    }, INTERVAL);
  }

  /** Ends the count and works out the use; the source's process must still live. */
  end(): LinkUse {
    this[Symbol.dispose]();
    this.#sample();
    const wire = shaped(this.#link) - this.#shapedBefore;
    return linkUse(this.#samples, wire / this.#samples.at(-1)!.bytes, this.#rate);
  }

  #read(): number {
    return bytesSent(Deno.readTextFileSync(this.#path));
  }

  #sample(): void {
    this.#samples.push({ at: performance.now(), bytes: this.#read() - this.#before });
  }

  /** Takes no more samples. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
