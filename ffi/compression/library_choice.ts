/** The first of several libraries that can be opened, and why not an earlier one. */

import { CompressionError } from "./page_codec.ts";

/** A library that may be there. */
export interface Candidate {
  /** Its name, for example `"libz.so.1"`. */
  readonly library: string;
  /** How its use is told, for example `"libz.so.1 is used"`. */
  readonly used: string;
  /** What makes it be there, for example `"apt-get install zlib1g"`. */
  readonly remedy: string;
  /** Opens it, throws when it cannot. */
  open(): unknown;
}

/** The library that was chosen. */
export interface Choice<C extends Candidate> {
  /** It. */
  readonly candidate: C;
  /** Why it is not the first, in one line; undefined when it is. */
  readonly instead?: string;
}

function isMissingModule(error: Error): boolean {
  return "code" in error && error.code === "MODULE_NOT_FOUND";
}

/** Says what is wrong with a library that did not open. */
function describe(library: string, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof Error && isMissingModule(error)) {
    // The package is there, its addon is not: Deno does not run a package's build script unasked.
    if (message.includes("binding.node")) return `${library} was not built`;
    return `${library} was not found`;
  }
  if (message.endsWith("No such file or directory")) return `${library} was not found`;
  // Deno puts the same words before the linker's, twice.
  const [why] = message.replace(/^(Could not open library: )+/, "").split("\n", 1);
  return `${library} cannot be opened (${why})`;
}

/**
 * Opens the first library that this host has.
 *
 * @param purpose what it is for, for example `"zlib"`
 * @param candidates the best first
 * @throws {CompressionError} when there is none, with what to install
 */
export function chooseLibrary<C extends Candidate>(
  purpose: string,
  candidates: readonly C[],
): Choice<C> {
  const reasons: string[] = [];
  for (const candidate of candidates) {
    try {
      candidate.open();
    } catch (error) {
      reasons.push(describe(candidate.library, error));
      continue;
    }
    if (reasons.length === 0) return { candidate };
    return { candidate, instead: `${reasons.join(", ")}: ${candidate.used}` };
  }
  const remedies = candidates.map(({ remedy }) => remedy).join(" or ");
  throw new CompressionError(`No library for ${purpose}: ${reasons.join(", ")}: ${remedies}`);
}
