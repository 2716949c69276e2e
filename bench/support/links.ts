/** The links a benchmark goes over, by the names of its command line. */

import { NetworkNamespaceError, ShapedLink } from "../netns.ts";
import { type Link, LOOPBACK } from "./link.ts";
import { progress } from "./progress.ts";

/** Names for `--link`: loopback, and shaped veth pairs by their rate. */
export const LINK_NAMES = ["loopback", "10g", "1g"] as const;

/** One of {@linkcode LINK_NAMES}. */
export type LinkName = typeof LINK_NAMES[number];

const RATES: Readonly<Record<Exclude<LinkName, "loopback">, number>> = { "10g": 10e9, "1g": 1e9 };

/** Bits a second that the link was asked to carry; 0 for no limit. */
export function linkRate(name: LinkName): number {
  return name === "loopback" ? 0 : RATES[name];
}

/**
 * Does something with each link in turn, and removes it again however that ends. A shaped link that
 * cannot be made (no root, no iproute2, a kernel without tbf) is left out and said so.
 *
 * @returns the links left out, with the reasons
 */
export async function withLinks(
  names: readonly LinkName[],
  use: (link: Link, name: LinkName) => Promise<void>,
): Promise<string[]> {
  const leftOut: string[] = [];
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
      leftOut.push(`${name} left out: ${error.message}`);
      progress(leftOut.at(-1)!);
      continue;
    }
    try {
      await use(link, name);
    } finally {
      link.close();
    }
  }
  return leftOut;
}
