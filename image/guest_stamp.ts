/** Which guest an image is of. */

import type { Image } from "./image.ts";

/**
 * Tells a guest from every other, and from what it was at another save: by what its devices hold, its
 * processors and clocks among them. Unlike a file's time it stays the same when the image is copied.
 */
export async function guestOf({ earlySections, deviceState, layout }: Image): Promise<string> {
  const state = new Uint8Array(earlySections.length + deviceState.length);
  state.set(earlySections);
  state.set(deviceState, earlySections.length);
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", state));
  return `${layout.pageCount}-${sum.toHex().slice(0, 32)}`;
}
