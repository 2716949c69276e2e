/** The links a benchmark goes over, by the names of its command line. */

import { FloorPair } from "../floors/floor_pair.ts";
import { NetworkNamespaceError, ShapedLink } from "../netns.ts";
import { type Link, LOOPBACK } from "./link.ts";
import { progress } from "./progress.ts";

/** Names for `--link`: loopback, and shaped veth pairs by their rate. */
export const LINK_NAMES = ["loopback", "10g", "1g"] as const;

/** One of {@linkcode LINK_NAMES}, or a link that only a benchmark of compression goes over. */
export type LinkName = typeof LINK_NAMES[number] | "100m";

const RATES: Readonly<Record<Exclude<LinkName, "loopback">, number>> = {
  "10g": 10e9,
  "1g": 1e9,
  "100m": 1e8,
};

/** Share of its rate that a shaped link must carry as TCP payload, headers being 4 to 6 %. */
const LEAST_SHARE = 0.85;
/** More than this share means that the shape does not hold. */
const MOST_SHARE = 1.02;

/** Bits a second that the link was asked to carry; 0 for no limit. */
export function linkRate(name: LinkName): number {
  return name === "loopback" ? 0 : RATES[name];
}

/** Sends a plain TCP stream over a shaped link; returns what it carried and whether that is right. */
async function probe(link: ShapedLink): Promise<string> {
  await using pair = await FloorPair.start(link, "scheduler");
  const share = await pair.bulkRate(1000) * 8 / link.shape.rate;
  const holds = share >= LEAST_SHARE && share <= MOST_SHARE;
  const carried = `${link.name} carries ${(share * 100).toFixed(0)} % of its rate as TCP payload`;
  return holds ? carried : `${carried}: THE SHAPE DOES NOT HOLD`;
}

/**
 * Does something with each link in turn, and removes it again however that ends. A shaped link is
 * probed first; one that cannot be made (no root, no iproute2, a kernel without tbf) is left out.
 *
 * @returns what the probes found, and which links were left out and why
 */
export async function withLinks(
  names: readonly LinkName[],
  use: (link: Link, name: LinkName) => Promise<void>,
): Promise<string[]> {
  const notes: string[] = [];
  const note = (text: string): void => {
    notes.push(text);
    progress(text);
  };
  for (const name of names) {
    if (name === "loopback") {
      await use(LOOPBACK, name);
      continue;
    }
    let link: ShapedLink;
    try {
      link = ShapedLink.create(RATES[name]);
    } catch (error) {
      if (!(error instanceof NetworkNamespaceError)) throw error;
      note(`${name} left out: ${error.message}`);
      continue;
    }
    try {
      note(await probe(link));
      await use(link, name);
    } finally {
      link.close();
    }
  }
  return notes;
}
