/** The version of this project, and of the Deno that it needs. */

import config from "../../deno.json" with { type: "json" };

/** This project's version, which is written down in deno.json alone. */
export const VERSION: string = config.version;

/**
 * The oldest Deno that is taken: the tests run with it, those before do not know their settings in
 * deno.json. A guest was moved with 2.3.0 too; before, there are no stacks of disposables.
 */
export const MINIMAL_DENO = "2.8.0";

/**
 * Returns why a Deno cannot run this, and what to do; undefined when it can.
 *
 * @param version of the Deno, as `Deno.version.deno` says it
 */
export function denoProblem(version: string): string | undefined {
  const [given, needed] = [numbers(version), numbers(MINIMAL_DENO)];
  const at = needed.findIndex((number, i) => number !== given[i]);
  if (at === -1 || given[at]! > needed[at]!) return undefined;
  return `Deno is too old: ${version}: ${MINIMAL_DENO} or later is needed: deno upgrade, or npm ` +
    "install -g deno@latest";
}

function numbers(version: string): number[] {
  return version.split(/[.+-]/, 3).map(Number);
}
