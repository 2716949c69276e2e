/** Worker entry: claims every page of a bitmap that it can get, from one end. */

import { PageBitmap } from "../../migration/memory/page_bitmap.ts";

/** What to claim. */
export interface ClaimJob {
  readonly bitmap: SharedArrayBuffer;
  readonly pages: number;
  /** A byte for each page, added to by whoever claimed it. */
  readonly claims: SharedArrayBuffer;
  /** Both workers begin when this counts to two. */
  readonly start: SharedArrayBuffer;
  /** Whether to walk as the background stream does, or to ask page by page as requests come. */
  readonly walk: boolean;
}

const scope = self as unknown as {
  onmessage: (event: MessageEvent<ClaimJob>) => void;
  postMessage(claimed: number): void;
};
scope.onmessage = ({ data }) => {
  const bitmap = new PageBitmap(data.pages, data.bitmap);
  const claims = new Uint8Array(data.claims);
  const start = new Int32Array(data.start);
  Atomics.add(start, 0, 1);
  while (Atomics.load(start, 0) < 2);
  let claimed = 0;
  if (data.walk) {
    for (let page = bitmap.next(0); page >= 0; page = bitmap.next(page + 1)) {
      if (!bitmap.take(page)) continue;
      Atomics.add(claims, page, 1);
      claimed++;
    }
  } else {
    for (let page = 0; page < data.pages; page++) {
      if (!bitmap.take(page)) continue;
      Atomics.add(claims, page, 1);
      claimed++;
    }
  }
  scope.postMessage(claimed);
};
