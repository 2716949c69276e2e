/** Where tasks keep what they make and git ignores, besides what Deno keeps for itself. */

/** The directory; whoever writes there makes it. */
export const cache: URL = new URL("../.cache/", import.meta.url);
