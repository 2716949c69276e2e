// deno-lint-ignore-file no-console -- part of a command: it tells what it installs

/** What the project needs from Debian, and how it is had where this process may install it. */

import { findCommand } from "./find_command.ts";

/** One thing that a Debian package holds. */
export interface Need {
  /** The package, as apt-get names it. */
  readonly debianPackage: string;
  /** What it is needed for, to end the sentence "needed to …". */
  readonly purpose: string;
  /** Whether the machine has it. */
  present(): boolean;
}

/** The need for a command. */
export function commandNeed(command: string, debianPackage: string, purpose: string): Need {
  return { debianPackage, purpose, present: () => findCommand(command) !== undefined };
}

/**
 * The need for a shared library.
 *
 * @param library Name under which programs open it, as `libdeflate.so.0`.
 */
export function libraryNeed(library: string, debianPackage: string, purpose: string): Need {
  return { debianPackage, purpose, present: () => opens(library) };
}

function opens(library: string): boolean {
  try {
    Deno.dlopen(library, {}).close();
    return true;
  } catch {
    return false;
  }
}

/** Whether a file or directory exists and can be reached. */
export function exists(path: string | URL): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/**
 * Installs what is missing, when this process is root on a machine with apt-get.
 *
 * @param needs Everything that is needed; what is there already costs nothing.
 * @returns What is still missing afterwards.
 */
export async function provide(needs: readonly Need[]): Promise<Need[]> {
  const missing = needs.filter((need) => !need.present());
  if (missing.length === 0 || Deno.uid() !== 0 || !findCommand("apt-get")) return missing;
  const names = packagesOf(missing);
  // The package lists may be there and recent enough, which saves half the time.
  let count = await countInstalls(names);
  if (count === undefined) {
    await apt(["update"]);
    count = await countInstalls(names);
  }
  console.error(explainInstalls(missing, count));
  let { failure } = await apt(["install", ...names]);
  if (failure !== undefined) {
    await apt(["update"]);
    failure = (await apt(["install", ...names])).failure;
  }
  if (failure !== undefined) console.error(`apt-get install ${names.join(" ")}: ${failure}`);
  return missing.filter((need) => !need.present());
}

/**
 * Says what is about to be installed and why, a line for each package.
 *
 * @param missing What is missing.
 * @param count How many packages apt-get installs for it; undefined when it does not say.
 */
export function explainInstalls(missing: readonly Need[], count: number | undefined): string {
  const names = packagesOf(missing);
  const width = Math.max(...names.map((name) => name.length));
  const along = count === undefined ? "" : `: ${count} packages`;
  const lines = names.map((name) => {
    const needs = missing.filter((need) => need.debianPackage === name);
    const purposes = [...new Set(needs.map((need) => `to ${need.purpose}`))];
    return `  ${name.padEnd(width)}  ${purposes.join(", ")}`;
  });
  return [`Installing from Debian, with what they depend on${along}`, ...lines].join("\n");
}

function packagesOf(needs: readonly Need[]): string[] {
  return [...new Set(needs.map((need) => need.debianPackage))];
}

/**
 * Says what to install, in one line.
 *
 * @param missing What is missing.
 * @returns A sentence without a full stop.
 */
export function explainMissing(missing: readonly Need[]): string {
  const purposes = [...new Set(missing.map((need) => need.purpose))];
  return `Missing, needed to ${purposes.join(" and to ")}; as root: apt-get install ` +
    packagesOf(missing).join(" ");
}

/** Asks apt-get how many packages it would install; undefined when it does not know them. */
async function countInstalls(names: readonly string[]): Promise<number | undefined> {
  const { failure, said } = await apt(["--simulate", "install", ...names]);
  return failure === undefined ? said.match(/^Inst /gm)?.length ?? 0 : undefined;
}

/**
 * Runs apt-get without questions; another apt-get at work is waited for.
 *
 * @returns What it said, and when it failed the end of that.
 */
async function apt(
  args: readonly string[],
): Promise<{ readonly said: string; readonly failure?: string }> {
  const { success, stdout, stderr } = await new Deno.Command("apt-get", {
    args: ["-qq", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", ...args],
    env: { DEBIAN_FRONTEND: "noninteractive" },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  const said = text.decode(stdout) + text.decode(stderr);
  if (success) return { said };
  return { said, failure: said.trimEnd().split("\n").slice(-3).join("; ") };
}
