/** What `serve` says about a guest that may run at a destination already. */

import type { FoundHandOver } from "./hand_over_mark.ts";

/** The guest may run at the destination already: nothing was sent there. */
export class HandedOverError extends Error {
  override readonly name = "HandedOverError";
}

/**
 * Two sources that connect to one destination, each with one channel, would end it. A daemon is not to be killed
 * for one of its sessions: it has others.
 *
 * @param mark of the hand-over that goes on
 * @param uri where it was to be served
 * @param session of the daemon that was to serve it; undefined for a command
 */
export function beingServed(
  { process, since, session: theirs }: FoundHandOver,
  uri: string,
  session: string | undefined,
): HandedOverError {
  const [who, itself, end] = theirs === undefined
    ? [`process ${process}`, "by itself", "kill -9"]
    : [
      `process ${process}, a daemon's session ${theirs}`,
      `by itself, or by postcopy recover ${theirs}`,
      `postcopy cancel ${theirs} --force`,
    ];
  return new HandedOverError(
    `Image is being served there by ${who}, since ${since}: ${uri}: let it go on: it connects again ` +
      `${itself}; to go on from elsewhere, end it first (${end}), then ${
        wordsOf(session)
      } --recover`,
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
      ...mark.session === undefined ? [] : [
        `  ${bySession(mark.session)}`,
        "or, where that session of a daemon has ended:",
      ],
      `  ${command} --recover`,
      "Only if it is not: --start-anew in place of --recover, with disks as they were at the save that " +
      "nothing else uses. Once that guest is complete, or gone for good, this may be removed: " +
      mark.path,
    ].join("\n"),
  );
}

/** How a session of a daemon goes on, where it does not by itself. */
function bySession(session: string): string {
  return `postcopy recover ${session} --to ADDRESS`;
}

/** What serves an image where the reader is: a daemon by a word, or the command. */
function wordsOf(session: string | undefined): string {
  return session === undefined ? "postcopy serve" : "postcopy migrate";
}

/**
 * What is to be known by who starts a guest of which others may run.
 *
 * @param earlier marks of the same destination, of other saves
 * @param elsewhere marks of other destinations
 * @param session of the daemon that starts it; undefined for a command
 */
export function elsewhereNote(
  earlier: readonly FoundHandOver[],
  elsewhere: readonly FoundHandOver[],
  session: string | undefined,
): string[] {
  const notes: string[] = [];
  if (earlier.length > 0) {
    notes.push(
      "Another save of this name was handed over there before, and nobody heard that its guest is complete",
    );
  }
  if (elsewhere.length > 0) {
    const list = elsewhere.map(({ to, since, path, session }) =>
      `${to} at ${since} (${path}${
        session === undefined ? "" : `, of a daemon's session: ${bySession(session)}`
      })`
    );
    const all = list.join(", ");
    notes.push(
      `Guest was handed over before, and nobody heard that it is complete: ${all}: if it still lacks memory ` +
        `there, it needs ${
          wordsOf(session)
        } --recover; this one needs disks of its own; once that one is ` +
        "complete, or gone for good, remove that file",
    );
  }
  return notes;
}

/**
 * A mark could not be made.
 *
 * @param session of the daemon whose hand-over it is; undefined for that of a command
 */
export function notKeptNote(why: string, session: string | undefined): string {
  const [who, itself] = session === undefined ? ["this serve be killed", ""] : [
    "this session end",
    ` (the next daemon goes on with it by itself, or by ${bySession(session)})`,
  ];
  return `Hand-over is not marked beside the image: ${why}: should ${who} before it has completed, go on ` +
    `with --recover${itself}: without, the next would not be refused, and may end the guest`;
}

/** A mark could not be removed. */
export function notRemovedNote(path: string, why: string): string {
  return `Mark of a hand-over that is over cannot be removed: ${path}: ${why}: remove it`;
}
