/** Pages of text: logs of services, and English prose. */

import type { ContentRandom } from "./guest_random.ts";

/** Bytes that a writer may write behind a page: its last line or word is cut at the page's end. */
export const TEXT_OVERRUN = 512;

// In the order of their frequency in English, more or less; the last ones stand for the rare words.
const WORDS =
  "the of and to in a is that for it was on are as with be at by this had not but from or have an " +
  "they which one you were all her she there would their we him been has when who will no more if " +
  "out so up said what its about than into them can only other time new some could these two may " +
  "first then do any like my now over such our man me even most made after also did many off before " +
  "must well back through years much where your way down should because long each just state those " +
  "people how too little good very make world still see own work men day get here between both under " +
  "being never same another know while last might us great old year off come since against go right " +
  "used take three states himself few house use during without again place around however small " +
  "memory machine network server process storage kernel virtual migration downtime latency bandwidth " +
  "request response database connection container scheduler interrupt device address register " +
  "question government important company program problem different possible example community " +
  "development information experience education president economic available particular behaviour " +
  "yesterday afternoon mountain language neighbour captain weather instrument evidence material";

const SERVICES = [
  "kubelet[1187]: ",
  "nginx[20541]: ",
  "postgres[3312]: ",
  "systemd[1]: ",
  "kernel: ",
  "sshd[88120]: ",
  "dockerd[940]: ",
  "cron[771]: ",
];

const MESSAGES = [
  'level=info msg="request served" method=GET path=/api/v1/items/',
  'level=info msg="request served" method=POST path=/api/v1/orders/',
  'level=warn msg="slow query" table=orders rows=',
  'level=error msg="connection reset by peer" remote=10.0.3.',
  "Accepted publickey for deploy from 10.42.7.19 port ",
  "Started session of user root, number ",
  'level=info msg="checkpoint complete" buffers=',
  'level=debug msg="cache miss" key=session:',
  "TCP: request_sock_TCP: possible SYN flooding on port ",
  'level=info msg="volume attached" node=worker-',
  "pam_unix(sudo:session): session opened for user root by uid ",
  'level=warn msg="retrying after backoff" attempt=',
];

const ENCODER = new TextEncoder();

/** Strings in one array of bytes, so that copying one makes no object. */
class Strings {
  readonly #bytes: Uint8Array;
  readonly #starts: Uint16Array;
  readonly #count: number;

  constructor(strings: readonly string[]) {
    const starts = [0];
    for (const each of strings) starts.push(starts.at(-1)! + each.length);
    this.#bytes = ENCODER.encode(strings.join(""));
    this.#starts = Uint16Array.from(starts);
    this.#count = strings.length;
  }

  /** Copies one that a number chooses, all with the same chance; returns where it ends. */
  copyAny(number: number, into: Uint8Array, at: number): number {
    return this.copy(((number >>> 16) * this.#count) >>> 16, into, at);
  }

  /** Copies one that a number chooses: the N-th is about 1 / N as frequent as the first. */
  copyFrequent(number: number, into: Uint8Array, at: number): number {
    // count^u is that distribution (Zipf's) for u from 0 to 1; the table holds 4096 steps of it.
    return this.copy(FREQUENT[number >>> 20]!, into, at);
  }

  copy(index: number, into: Uint8Array, at: number): number {
    const bytes = this.#bytes;
    const end = this.#starts[index + 1]!;
    for (let from = this.#starts[index]!; from < end; from++) into[at++] = bytes[from]!;
    return at;
  }
}

const words = WORDS.split(" ");
const PROSE = new Strings(words.map((word) => `${word} `));
const FREQUENT = Uint16Array.from(
  { length: 4096 },
  (_, step) => Math.floor(words.length ** ((step + 0.5) / 4096) - 1),
);
const SERVICE = new Strings(SERVICES);
const MESSAGE = new Strings(MESSAGES);
const DATE = new Strings(["2026-03-14T", " node-3 ", " took=", "ms\n"]);

/**
 * Writes a page of text.
 *
 * @param random at the page's beginning
 * @param into room for a page and {@linkcode TEXT_OVERRUN} bytes, from its start
 */
export function writeText(random: ContentRandom, into: Uint8Array): void {
  if ((random.next() & 1) === 0) writeLog(random, into);
  else writeProse(random, into);
}

function writeProse(random: ContentRandom, into: Uint8Array): void {
  let at = 0;
  while (at < 4096) {
    const start = at;
    for (let left = 5 + (random.next() & 15); left > 0; left--) {
      at = PROSE.copyFrequent(random.next(), into, at);
    }
    into[start]! -= 0x20; // a capital
    const end = random.next();
    into[at - 1] = 0x2e; // a full stop
    into[at++] = (end & 7) === 0 ? 0x0a : 0x20;
  }
}

function writeLog(random: ContentRandom, into: Uint8Array): void {
  let at = 0;
  let milliseconds = (random.next() >>> 6) % 86_400_000;
  while (at < 4096) {
    const number = random.next();
    milliseconds += number & 1023;
    at = DATE.copy(0, into, at);
    at = writeTime(milliseconds, into, at);
    at = DATE.copy(1, into, at);
    at = SERVICE.copyAny(random.next(), into, at);
    at = MESSAGE.copyAny(random.next(), into, at);
    at = writeNumber(random.next() >>> (12 + (number & 15)), into, at);
    at = DATE.copy(2, into, at);
    at = writeNumber(number >>> 24, into, at);
    at = DATE.copy(3, into, at);
  }
}

/** Writes hours, minutes, seconds and milliseconds: 09:26:53.589. */
function writeTime(milliseconds: number, into: Uint8Array, at: number): number {
  const seconds = Math.floor(milliseconds / 1000);
  const minutes = Math.floor(seconds / 60);
  at = writeTwoDigits(Math.floor(minutes / 60) % 24, into, at);
  into[at++] = 0x3a;
  at = writeTwoDigits(minutes % 60, into, at);
  into[at++] = 0x3a;
  at = writeTwoDigits(seconds % 60, into, at);
  into[at++] = 0x2e;
  const rest = milliseconds % 1000;
  into[at++] = 0x30 + Math.floor(rest / 100);
  return writeTwoDigits(rest % 100, into, at);
}

function writeTwoDigits(number: number, into: Uint8Array, at: number): number {
  into[at] = 0x30 + Math.floor(number / 10);
  into[at + 1] = 0x30 + number % 10;
  return at + 2;
}

function writeNumber(number: number, into: Uint8Array, at: number): number {
  let digits = 1;
  for (let limit = 10; number >= limit; limit *= 10) digits++;
  const end = at + digits;
  for (let digit = end - 1; digit >= at; digit--) {
    into[digit] = 0x30 + number % 10;
    number = Math.floor(number / 10);
  }
  return end;
}
