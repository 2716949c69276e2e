/** The order in which a guest touches its memory when it is restored, as it is kept from restore to restore. */

/** Page numbers of an image's layout, the page touched first in front, none twice. */
export interface OrderList {
  /** The pages. */
  readonly pages: Int32Array;
  /** Of each: restores in a row that would have asked for it had they touched it, and did not. */
  readonly idle: Uint8Array;
}

/** Most pages of a list: 1 GiB of 4 KiB, more than a guest touches before the rest has come. */
export const MOST_ORDERED = 2 ** 18;

/** A page that so many restores in a row never asked for is no longer one of those that come first. */
export const IDLE_SINKS = 3;

/** More restores in a row are not counted. */
export const MOST_IDLE = 15;

/** The list of a guest that nobody has seen restored. */
export function emptyOrder(): OrderList {
  return unseenOrder(new Int32Array(0));
}

/**
 * The same of one that is known to touch some pages all the same.
 *
 * @param pages page numbers, the surest in front, none twice
 */
export function unseenOrder(pages: Int32Array): OrderList {
  return { pages, idle: new Uint8Array(pages.length) };
}
