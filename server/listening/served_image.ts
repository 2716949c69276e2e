/** An image under the name by which clients ask for it. */

import type { Image } from "../../image/image.ts";
import { encodeName } from "../../migration/protocol/names.ts";
import { fileOf } from "../../pages/page_locator.ts";
import { FileWatch } from "../../pages/stored_file.ts";
import type { OrderOptions } from "../order/source_order.ts";
import type { Source } from "../source.ts";

/** How the pages of one session are ordered, and what is kept of it. */
export interface SessionOrder {
  /** For its source. */
  readonly options: OrderOptions;
  /** What the user is to know before anything is sent. */
  readonly notes?: readonly string[];
  /**
   * Keeps what was seen of a session that has ended.
   *
   * @param how whether it went on for another, and for how long it sent only what was asked for
   * @param completed whether the client has everything, and what it did not ask for says that it did not want it
   * @returns what the user is to know
   */
  keep(
    source: Source,
    how: { readonly recover?: boolean; readonly holdBack?: number },
    completed: boolean,
  ): Promise<readonly string[]>;
}

/** An image, and under which name it is served. */
export interface ServedImageOptions {
  /** 1 to 255 bytes; a name and nothing else: no file is looked for by it. */
  readonly name: string;
  /** An open image, which must stay open until the server is closed. */
  readonly image: Image;
  /** Called when a session of it begins; default: pages go as they lie, and nothing is kept. */
  readonly order?: () => Promise<SessionOrder>;
}

/** One of a server's images. */
export class ServedImage {
  readonly name: string;
  readonly image: Image;
  /** Tells it from every other, and from what the file was at another time, also where it was copied to. */
  readonly identity: Uint8Array;
  readonly #order: (() => Promise<SessionOrder>) | undefined;
  readonly #watch: FileWatch;

  private constructor({ name, image, order }: ServedImageOptions, identity: Uint8Array) {
    this.name = name;
    this.image = image;
    this.identity = identity;
    this.#order = order;
    this.#watch = new FileWatch(fileOf(image.pages));
  }

  /**
   * Takes up an image.
   *
   * @throws {RangeError} for a name that cannot be
   */
  static async of(options: ServedImageOptions): Promise<ServedImage> {
    encodeName(options.name);
    return new ServedImage(options, await identityOf(options.image));
  }

  /**
   * Sees that its file is what it was when it was opened.
   *
   * @throws {MigrationError} `IMAGE_CHANGED` or `IMAGE_UNREADABLE`
   */
  check(): void {
    this.#watch.check();
  }

  /** How the pages of a session go that begins now. */
  async order(): Promise<SessionOrder | undefined> {
    return await this.#order?.();
  }
}

/**
 * A sum over all that tells an image from another: its blocks, what its devices hold, and size and time of its
 * file, which a copy keeps that is made for the purpose (`cp --preserve`, `rsync --times`). Memory as it is has
 * nothing else to be told by.
 */
async function identityOf(
  { blocks, earlySections, deviceState, pages }: Image,
): Promise<Uint8Array> {
  const file = fileOf(pages);
  const text = JSON.stringify([
    blocks.map(({ name, usedLength }) => [name, usedLength]),
    earlySections.length,
    file === undefined ? [] : [file.size, file.seconds, file.nanoseconds],
  ]);
  const head = new TextEncoder().encode(text);
  const all = new Uint8Array(head.length + earlySections.length + deviceState.length);
  all.set(head);
  all.set(earlySections, head.length);
  all.set(deviceState, head.length + earlySections.length);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", all));
}
