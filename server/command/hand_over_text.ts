/** What `serve` says about a guest that may run at a destination already. */

import type { FoundHandOver } from "./hand_over_mark.ts";

/** The guest may run at the destination already: nothing was sent there. */
export class HandedOverError extends Error {
  override readonly name = "HandedOverError";
}

/** Two sources that connect to one destination, each with one channel, would end it. */
export function beingServed({ process, since }: FoundHandOver, uri: string): HandedOverError {
  return new HandedOverError(
    `Image is being served there by process ${process}, since ${since}: ${uri}: let it go on: it connects ` +
      "again by itself; to go on from elsewhere, end it first (kill -9), then serve with --recover",
  );
}

/**
 * A start from the image may end the guest.
 *
 * @param mark of the hand-over before
 * @param uri where it was to be started
 * @param command what was to start it
 */
export function mayRun(mark: FoundHandOver, uri: string, command: string): HandedOverError {
  return new HandedOverError(
    [
      `Guest of this image may run already: it was handed over to ${mark.to} at ${mark.since}, and nobody ` +
      `heard that it is complete. If it is what listens at ${uri}, a start ends it: go on with it instead:`,
      `  ${command} --recover`,
      "Only if it is not: --start-anew in place of --recover, with disks as they were at the save that " +
      "nothing else uses. Once that guest is complete, or gone for good, this may be removed: " +
      mark.path,
    ].join("\n"),
  );
}

/**
 * What is to be known by who starts a guest of which others may run.
 *
 * @param earlier marks of the same destination, of other saves
 * @param elsewhere marks of other destinations
 */
export function elsewhereNote(
  earlier: readonly FoundHandOver[],
  elsewhere: readonly FoundHandOver[],
): string[] {
  const notes: string[] = [];
  if (earlier.length > 0) {
    notes.push(
      "Another save of this name was handed over there before, and nobody heard that its guest is complete",
    );
  }
  if (elsewhere.length > 0) {
    const list = elsewhere.map(({ to, since, path }) => `${to} at ${since} (${path})`);
    notes.push(
      `Guest was handed over before, and nobody heard that it is complete: ${
        list.join(", ")
      }: if it still ` +
        "lacks memory there, it needs serve --recover; this one needs disks of its own; once that one is " +
        "complete, or gone for good, remove that file",
    );
  }
  return notes;
}

/** A mark could not be made. */
export function notKeptNote(why: string): string {
  return `Hand-over is not marked beside the image: ${why}: should this serve be killed before it has ` +
    "completed, go on with --recover: without, the next would not be refused, and may end the guest";
}

/** A mark could not be removed. */
export function notRemovedNote(path: string, why: string): string {
  return `Mark of a hand-over that is over cannot be removed: ${path}: ${why}: remove it`;
}
