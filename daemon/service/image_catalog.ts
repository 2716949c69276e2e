/** The images that a daemon may work on, by their names. */

import { type FileStamp, sameStamp, stampFile } from "../../image/file_stamp.ts";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import { isPartialName } from "../../image/partial_name.ts";
import { checkName, findWithin } from "./contained.ts";
import { BY_MIGRATE } from "./received_again.ts";
import { ServiceError } from "./service_error.ts";

/** Where images are. */
export interface ImagePlaces {
  /** A directory, each file of which is an image. */
  readonly directory: string | undefined;
  /** Files elsewhere, by name. */
  readonly files: Readonly<Record<string, string>>;
}

/** An image in a list. */
export interface ImageEntry {
  readonly name: string;
  /** Bytes of the file. */
  readonly size: number;
  /** When it was written last, in ISO 8601. */
  readonly modified: string;
  /** Whether an order of first touch is beside it. */
  readonly order: boolean;
  /** Sessions that use it now. */
  readonly sessions: number;
}

/** An open image that others may use too: it stays open until all have let go of it. */
export interface ImageLease extends Disposable {
  readonly image: Image;
}

/** An image that is being opened, or is open. Who disposes of it lets go of it, before it is open too. */
export interface ImageOpening extends Disposable {
  /** Settles when it is open, or cannot be. */
  readonly image: Promise<Image>;
  /** Resolves when that takes a while, because all of the image is to be read; settles never where not. */
  readonly indexing: Promise<void>;
}

/** What lies beside images. */
const BESIDE = /\.postcopy-(index|order|handover-[^/]*)$|\.tmp$/;
/** What is written beside a raw image: it counts as that where the image is there. */
const OF_RAW = /\.(json|devices)$/;

interface Opened {
  readonly stamp: FileStamp;
  readonly image: Promise<Image>;
  readonly indexing: Promise<void>;
  /** Ends the opening, when nobody waits for it any more. */
  readonly abort: AbortController;
  isOpen: boolean;
  users: number;
}

/** Finds images, and opens each once, however many use it. */
export class ImageCatalog {
  /** Where images are. */
  places: ImagePlaces;
  readonly #opened = new Map<string, Opened>();

  /** @param places where images are */
  constructor(places: ImagePlaces) {
    this.places = places;
  }

  /**
   * All images, by name.
   *
   * @throws {ServiceError} `NO_DIRECTORY`
   */
  async list(): Promise<ImageEntry[]> {
    const found = new Map<string, string>();
    const { directory, files } = this.places;
    if (directory !== undefined) {
      const names = await filesIn(directory);
      for (const name of names) {
        if (isImageName(name, names)) found.set(name, `${directory}/${name}`);
      }
    }
    for (const [name, path] of Object.entries(files)) found.set(name, path);
    const entries = await Promise.all([...found.keys()].map((name) => this.#entry(name)));
    return entries.filter((entry) => entry !== undefined)
      .sort((one, other) => one.name < other.name ? -1 : 1);
  }

  /**
   * Returns where an image is.
   *
   * @throws {ServiceError} `NO_SUCH_IMAGE`, `BAD_NAME`
   */
  async find(name: string): Promise<string> {
    const { directory, files } = this.places;
    const file = Object.hasOwn(files, name) ? files[name] : undefined;
    const path = file !== undefined
      ? await Deno.realPath(file).catch(() => undefined)
      : directory !== undefined
      ? await findWithin(directory, name, "image")
      : undefined;
    if (path !== undefined) return path;
    throw new ServiceError(
      "NO_SUCH_IMAGE",
      `No such image: ${name}: postcopy images lists those that there are`,
    );
  }

  /**
   * Opens an image, or shares it with those who have it open and unchanged.
   *
   * @param name of the image
   * @param offset where in the file the stream begins, in bytes, if that was said
   * @throws {ServiceError} when there is none of that name
   * @throws {ImageError} when it cannot be used
   */
  async open(name: string, offset?: number): Promise<ImageLease> {
    const opening = await this.begin(name, offset);
    const release = () => opening[Symbol.dispose]();
    try {
      return { image: await opening.image, [Symbol.dispose]: release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /**
   * Begins to open an image, or to share it: {@linkcode ImageCatalog.open} for who does not wait for it.
   *
   * @throws {ServiceError} when there is none of that name
   */
  async begin(name: string, offset?: number): Promise<ImageOpening> {
    const path = await this.find(name);
    const stamp = await stampFile(path);
    const key = `${offset ?? ""} ${path}`;
    let opened = this.#opened.get(key);
    if (opened === undefined || !sameStamp(opened.stamp, stamp)) {
      opened = beginOpening(path, offset, stamp);
      this.#opened.set(key, opened); // one that has changed goes on for those who have it
    }
    return this.#share(key, opened);
  }

  /**
   * Returns the path of an image that is to be made.
   *
   * @throws {ServiceError} `BAD_NAME`, `NO_DIRECTORY`
   */
  async toWrite(name: string): Promise<string> {
    checkName("image", name);
    const { directory, files } = this.places;
    if (directory === undefined || Object.hasOwn(files, name)) {
      throw new ServiceError(
        "BAD_NAME",
        directory === undefined
          ? `No directory of images is configured to receive into: ${name}: set images.directory`
          : `Image of a file that the configuration names: ${name}: choose another name`,
      );
    }
    if (BESIDE.test(name) || isPartialName(name)) {
      throw new ServiceError(
        "BAD_NAME",
        `Name of what lies beside an image: ${name}: choose another name`,
      );
    }
    const home = await Deno.realPath(directory).catch((error) => {
      throw unreadable(directory, error);
    });
    return `${home}/${name}`;
  }

  /**
   * Returns the path of a file that a receive left in the directory.
   *
   * @throws {ServiceError} `BAD_NAME`, `NO_SUCH_IMAGE`
   */
  async partial(name: string): Promise<string> {
    const { directory } = this.places;
    const path = directory === undefined || !isPartialName(name)
      ? undefined
      : await findWithin(directory, name, "image");
    if (path !== undefined) return path;
    throw new ServiceError(
      "NO_SUCH_IMAGE",
      `No such partial image in the directory of images: ${name}: give the name IMAGE.partial-NUMBER that ` +
        "the receive has left",
    );
  }

  #share(key: string, opened: Opened): ImageOpening {
    const { image } = opened;
    const indexing = opened.isOpen ? new Promise<never>(() => {}) : opened.indexing;
    let held = true;
    opened.users++;
    const release = () => {
      if (!held) return;
      held = false;
      if (--opened.users > 0) return;
      if (this.#opened.get(key) === opened) this.#opened.delete(key);
      opened.abort.abort();
      image.then((image) => image.close(), () => {});
    };
    return { image, indexing, [Symbol.dispose]: release };
  }

  async #entry(name: string): Promise<ImageEntry | undefined> {
    try {
      const path = await this.find(name);
      const { isFile, size, mtime } = await Deno.stat(path);
      if (!isFile) return undefined;
      const order = await Deno.stat(`${path}.postcopy-order`).then(() => true, () => false);
      let sessions = 0;
      for (const [key, { users }] of this.#opened) if (key.endsWith(` ${path}`)) sessions += users;
      return { name, size, modified: (mtime ?? new Date(0)).toISOString(), order, sessions };
    } catch {
      return undefined; // it is gone, or leads elsewhere
    }
  }
}

function beginOpening(path: string, offset: number | undefined, stamp: FileStamp): Opened {
  const indexing = Promise.withResolvers<void>();
  const abort = new AbortController();
  let steps = 0;
  const image = openImage(path, {
    offset,
    signal: abort.signal,
    again: BY_MIGRATE,
    // What is read in one step is open as soon as anybody could be told that it is not.
    onProgress: () => {
      if (++steps === 2) indexing.resolve();
    },
  });
  const opened = { stamp, image, indexing: indexing.promise, abort, isOpen: false, users: 0 };
  // Whoever waits for it hears why it cannot be.
  image.then(() => opened.isOpen = true, () => {});
  return opened;
}

/**
 * The files of the directory of images.
 *
 * @throws {ServiceError} `NO_DIRECTORY` when it is not there any more, or cannot be read
 */
async function filesIn(directory: string): Promise<Set<string>> {
  const names = new Set<string>();
  try {
    for await (const { name, isDirectory } of Deno.readDir(directory)) {
      if (!isDirectory) names.add(name);
    }
  } catch (error) {
    throw unreadable(directory, error);
  }
  return names;
}

function unreadable(directory: string, error: unknown): ServiceError {
  return new ServiceError(
    "NO_DIRECTORY",
    `Directory of images cannot be read: ${directory}: ${
      (error as Error).message
    }: see that it is mounted, ` +
      "and that the user may read it that the daemon runs as",
  );
}

function isImageName(name: string, names: ReadonlySet<string>): boolean {
  if (name.startsWith(".") || BESIDE.test(name) || isPartialName(name)) return false;
  return !OF_RAW.test(name) || !names.has(name.replace(OF_RAW, ""));
}
