/** A guest of bench:disruption at rest, and what its lines tell wherever it runs. */

import { capture } from "../../qemu/capture.ts";
import { Qemu, type QemuOptions } from "../../qemu/qemu.ts";
import { atExit } from "../support/at_exit.ts";
import type { RestorableGuest } from "./restorable_guest.ts";
import { carriedWork, type WorkSample } from "./work_lost.ts";

/** A Linux guest under TCG on a busy machine. */
const DEADLINE_MS = 180_000;
/** Lines of work before a guest is stopped. */
const LINES_BEFORE = 12;

/** What a guest brings to where it runs next. */
export interface Luggage {
  /** The begin of a line, whose end it prints there. */
  readonly text: string;
  /** Work that it did before, and tells of there. */
  readonly work: number;
}

/** A guest in a file. */
export interface CapturedGuest {
  readonly guest: RestorableGuest;
  readonly path: string;
  readonly luggage: Luggage;
}

/** Starts a QEMU that does not outlive this process. */
export async function startQemu(options: QemuOptions): Promise<Qemu> {
  const qemu = await Qemu.start(options);
  const forget = atExit(() => Deno.kill(qemu.pid, "SIGKILL"));
  qemu.exited.finally(forget);
  return qemu;
}

/** Waits for a line that matches, also for one that has come already. */
export async function waitForText(
  qemu: Qemu,
  what: string,
  matches: (line: string) => boolean,
  since = 0,
): Promise<number> {
  const line = await qemu.serial.waitForLine(what, matches, { since, deadlineMs: DEADLINE_MS });
  return line.arrivedAt;
}

/** Waits until a guest has told of its work so many times since some line. */
export async function waitForWork(
  qemu: Qemu,
  { work }: RestorableGuest,
  lines = LINES_BEFORE,
): Promise<void> {
  if (work === undefined) return;
  const since = qemu.serial.lines.items.length;
  let left = lines;
  await waitForText(qemu, "work", (line) => work(line) !== undefined && --left === 0, since);
}

/**
 * Reads what a guest did from its lines.
 *
 * @param begun the begin of its first line, printed elsewhere
 * @throws {Error} when it found memory that does not hold what it should
 */
export function samplesOf(qemu: Qemu, { name, work }: RestorableGuest, begun = ""): WorkSample[] {
  const { text, lines } = qemu.serial;
  const wrong = /WRONG[^\r\n]*/.exec(begun + text);
  if (wrong !== null) throw new Error(`Guest ${name} found something wrong: ${wrong[0]}`);
  return lines.items.flatMap(({ text, arrivedAt }, i) => {
    const done = work?.((i === 0 ? begun + text : text).trim());
    return done === undefined ? [] : [{ at: arrivedAt, work: done }];
  });
}

/** Tells what a guest that was stopped brings with it; its QEMU must have printed all. */
export function luggageOf(qemu: Qemu, guest: RestorableGuest, stopped: number): Luggage {
  const { text } = qemu.serial;
  const begun = text.slice(text.lastIndexOf("\n") + 1);
  if (guest.work === undefined) return { text: begun, work: 0 };
  return { text: begun, work: carriedWork(samplesOf(qemu, guest), stopped) };
}

/**
 * Boots a guest, lets it work, and captures it into a file.
 *
 * @throws {Error} when it does not come up, with what it said last
 */
export async function captureGuest(guest: RestorableGuest, path: string): Promise<CapturedGuest> {
  const qemu = await startQemu(guest.machine);
  try {
    await waitForText(qemu, "the guest's readiness", guest.isReady).catch((cause) => {
      const last = qemu.serial.lines.items.slice(-5).map(({ text }) => text.trim()).join("; ");
      throw new Error(`Guest ${guest.name} did not come up: ${last}`, { cause });
    });
    await waitForWork(qemu, guest);
    await capture(qemu, path);
    const { arrivedAt } = await qemu.qmp.waitForEvent("STOP");
    await qemu.close(); // only now is all of its output there
    return { guest, path, luggage: luggageOf(qemu, guest, arrivedAt) };
  } finally {
    await qemu.close();
  }
}
