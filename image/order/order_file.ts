/** The file that an order of first touch is kept in, beside its image: a hint, of which nothing depends. */

import { readersOf } from "../file_stamp.ts";
import type { Image } from "../image.ts";
import { whyNotKept } from "../capture/index_storage.ts";
import { streamName } from "../stream/stream_place.ts";
import {
  decodeOrder,
  encodeOrder,
  MOST_ORDER_BYTES,
  type OrderOwner,
  type OwnedOrder,
  whyNotOf,
} from "./order_codec.ts";
import type { OrderList } from "./order_list.ts";

/** What an order's name has behind the image's. */
export const ORDER_SUFFIX = ".postcopy-order";

/** What to do where one cannot be written; a daemon has no other place for it than beside its image. */
export const ORDER_ELSEWHERE =
  "let it be written there, or leave it out with --order off; a command takes --order FILE for one elsewhere";

/** The name of an image's order. */
export function orderPath({ path, streamOffset, libvirt }: Image): string {
  return `${streamName(path, streamOffset, libvirt)}${ORDER_SUFFIX}`;
}

/**
 * Reads an order, whoever's it is.
 *
 * @returns the order; undefined when there is none; or why it cannot be used, as the end of a sentence about it
 */
export async function readOrderFile(path: string): Promise<OwnedOrder | string | undefined> {
  try {
    // A name may be of a pipe, which to open would wait for somebody.
    if (!(await Deno.stat(path)).isFile) return "it is no regular file";
    using file = await Deno.open(path);
    const { size } = await file.stat();
    if (size > MOST_ORDER_BYTES) {
      return `it has ${size} bytes, and an order at most ${MOST_ORDER_BYTES}`;
    }
    const bytes = new Uint8Array(size);
    let filled = 0;
    while (filled < size) {
      const count = await file.read(bytes.subarray(filled));
      if (count === null) return "it became shorter while it was read";
      filled += count;
    }
    return decodeOrder(bytes);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    return `it cannot be read: ${error instanceof Error ? error.message : error}`;
  }
}

/** Whether a file has nothing in it that could be lost: it is not there, or empty. */
export async function isVacant(path: string): Promise<boolean> {
  try {
    const { isFile, size } = await Deno.stat(path);
    return isFile && size === 0;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

/**
 * Reads the order of a guest.
 *
 * @returns the order; undefined when there is none; or why it is not used
 */
export async function readOrderOf(
  path: string,
  owner: OrderOwner,
): Promise<OrderList | string | undefined> {
  const found = await readOrderFile(path);
  if (found === undefined || typeof found === "string") return found;
  return whyNotOf(owner, found) ?? found.list;
}

/**
 * Keeps an order: whoever reads it meanwhile finds the one before or this one, whole; of two that write at once
 * the last remains.
 *
 * @param path its file
 * @param mode permissions of it, as {@linkcode readersOf} the image
 * @returns why it could not be kept; undefined when it was
 */
export async function writeOrderFile(
  path: string,
  order: OwnedOrder,
  mode: number,
): Promise<string | undefined> {
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    const directory = path.slice(0, path.lastIndexOf("/") + 1) || "./";
    // Nobody is to be asked for a permission: the guest runs, and this is about to end.
    if (Deno.permissions.querySync({ name: "write", path: directory }).state !== "granted") {
      throw new Error(`it takes --allow-write=${directory}`);
    }
    try {
      await Deno.writeFile(temporary, encodeOrder(order), { createNew: true, mode });
      await Deno.rename(temporary, path);
    } catch (error) {
      await Deno.remove(temporary).catch(() => {}); // it may never have been made
      throw error;
    }
    return undefined;
  } catch (error) {
    return whyNotKept(error, path, temporary);
  }
}

/** Permissions of an image's order. */
export async function orderMode({ path }: Pick<Image, "path">): Promise<number> {
  return await readersOf(path).catch(() => 0o600);
}
