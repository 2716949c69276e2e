/** What keeps a `serve` from starting a guest where it may run already. */

import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { guestOf } from "../../image/guest_stamp.ts";
import type { Image } from "../../image/image.ts";
import {
  findHandOvers,
  type FoundHandOver,
  HandOverMark,
  placesOf,
  removeMark,
  sameHost,
} from "./hand_over_mark.ts";
import {
  beingServed,
  elsewhereNote,
  mayRun,
  notKeptNote,
  notRemovedNote,
} from "./hand_over_text.ts";

/** What a `serve` is to do with its guest: start it, go on for another, or start one that is gone for good. */
export type Intent = "start" | "recover" | "start-anew";

/** What a guard is made from. */
interface HandOverGuardInit {
  readonly image: string;
  readonly to: SocketAddress;
  readonly guest: string;
  /** The forms of the address, and of others where the same guest listened. */
  readonly places: readonly string[];
  /** Of a daemon; undefined for a command. */
  readonly session: string | undefined;
  /** Marks that are over once this guard has its own, or the guest is complete. */
  readonly superseded: readonly FoundHandOver[];
  readonly notes: readonly string[];
}

/**
 * Knows where the guest of an image was handed over to, and keeps a mark of its own hand-over. Where that
 * cannot be it says so, and the image is served all the same.
 */
export class HandOverGuard implements Disposable {
  /** What the user is to know before anything is sent. */
  readonly notes: readonly string[];
  readonly #init: HandOverGuardInit;
  #kept: Promise<HandOverMark | string> | undefined;

  private constructor(init: HandOverGuardInit) {
    this.#init = init;
    this.notes = init.notes;
  }

  /**
   * Looks for marks beside an image. A guest that was handed over, and whose `serve` ended without completing
   * it, may be any destination on that host: one that is paused is told at which port it listens again.
   *
   * @param image an open image
   * @param to where it is to be served
   * @param intent what for
   * @param command the words that serve it so, with a shell's quotes
   * @param session of the daemon that is to serve it; undefined for a command
   * @throws {HandedOverError} when the guest would be lost
   */
  static async look(
    image: Image,
    to: SocketAddress,
    intent: Intent,
    command: string,
    session?: string,
  ): Promise<HandOverGuard> {
    const [guest, places, { found, notes }] = await Promise.all([
      guestOf(image),
      placesOf(to),
      findAll(image.path),
    ]);
    const uri = formatSocketAddress(to);
    const isHere = (mark: FoundHandOver) => mark.places.some((place) => places.includes(place));
    const here = found.filter(isHere);
    const live = here.find((mark) => mark.live);
    if (live !== undefined) throw beingServed(live, uri, session);
    // Several of one save may be served at once: where nobody can tell whether one still is, only its own
    // destination counts.
    const left = found.filter((mark) =>
      mark.guest === guest && (mark.live === false || isHere(mark))
    );
    const near = left.filter((mark) =>
      mark.places.some((one) => places.some((other) => sameHost(one, other)))
    );
    const init = { image: image.path, to, guest, places, session, superseded: here, notes };
    if (intent === "recover") return new HandOverGuard({ ...init, ...recovered(init, near) });
    const nearest = near.find(isHere) ?? near[0];
    if (intent === "start" && nearest !== undefined) throw mayRun(nearest, uri, command);
    const elsewhere = left.filter((mark) => !here.includes(mark));
    return new HandOverGuard({
      ...init,
      notes: [
        ...notes,
        ...elsewhereNote(here.filter((mark) => mark.guest !== guest), elsewhere, session),
      ],
    });
  }

  /**
   * Makes the mark, once: the guest may run at the destination from now on.
   *
   * @returns what the user is to know
   */
  async keep(): Promise<readonly string[]> {
    if (this.#kept !== undefined) return [];
    const { image, to, places, guest, session } = this.#init;
    this.#kept = HandOverMark.make(image, to, places, guest, session);
    const kept = await this.#kept;
    return typeof kept === "string" ? [notKeptNote(kept, session)] : await this.#removeSuperseded();
  }

  /**
   * The destination has all of the guest.
   *
   * @returns what the user is to know
   */
  async completed(): Promise<readonly string[]> {
    return [...await this.ranNowhere(), ...await this.#removeSuperseded()];
  }

  /**
   * The guest that was to be handed over cannot have run.
   *
   * @returns what the user is to know
   */
  async ranNowhere(): Promise<readonly string[]> {
    const kept = await this.#kept;
    if (kept === undefined || typeof kept === "string") return [];
    return await removed(kept.path, () => kept.remove());
  }

  /** Leaves the mark where it is. */
  [Symbol.dispose](): void {
    this.#kept?.then((kept) => typeof kept === "string" || kept.close());
  }

  async #removeSuperseded(): Promise<readonly string[]> {
    const notes: string[] = [];
    for (const { path } of this.#init.superseded) {
      notes.push(...await removed(path, () => removeMark(path)));
    }
    return notes;
  }
}

/** All marks of an image; where nobody can tell, none, and a note. */
async function findAll(
  image: string,
): Promise<{ readonly found: readonly FoundHandOver[]; readonly notes: readonly string[] }> {
  try {
    return { found: await findHandOvers(image), notes: [] };
  } catch (error) {
    const why = (error as Error).message;
    return {
      found: [],
      notes: [`Whether its guest was handed over before cannot be seen beside the image: ${why}`],
    };
  }
}

/**
 * What a guard that goes on for another takes over. When nobody was handed over to this address it is the one
 * guest on that host, at another port; of several nobody knows which. Its own mark then holds for all places
 * where that guest listened: a QEMU 7.2 keeps the first.
 */
function recovered(
  { places, superseded: here }: HandOverGuardInit,
  near: readonly FoundHandOver[],
): Pick<HandOverGuardInit, "places" | "superseded" | "notes"> {
  const superseded = here.length === 0 && near.length === 1 ? near : here;
  const all = [...places, ...superseded.flatMap(({ places }) => places)];
  return { places: [...new Set(all)], superseded, notes: [] };
}

/** Removes a mark, and says what is to be done when that cannot be. */
async function removed(path: string, remove: () => Promise<void>): Promise<string[]> {
  try {
    await remove();
    return [];
  } catch (error) {
    return [notRemovedNote(path, (error as Error).message)];
  }
}
