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
  const names = [...new Set(missing.map((need) => need.debianPackage))];
  console.error(`Installing from Debian: ${names.join(" ")}`);
  // The package lists may be there and recent enough, which saves half the time.
  let failure = await apt(["install", ...names]);
  if (failure !== undefined) {
    await apt(["update"]);
    failure = await apt(["install", ...names]);
  }
  if (failure !== undefined) console.error(`apt-get install ${names.join(" ")}: ${failure}`);
  return missing.filter((need) => !need.present());
}

/**
 * Says what to install, in one line.
 *
 * @param missing What is missing.
 * @returns A sentence without a full stop.
 */
export function explainMissing(missing: readonly Need[]): string {
  const names = [...new Set(missing.map((need) => need.debianPackage))];
  const purposes = [...new Set(missing.map((need) => need.purpose))];
  return `Missing, needed to ${purposes.join(" and to ")}; as root: apt-get install ` +
    names.join(" ");
}

/**
 * Runs apt-get without questions; another apt-get at work is waited for.
 *
 * @returns undefined when it succeeded, else the end of what it said.
 */
async function apt(args: readonly string[]): Promise<string | undefined> {
  const { success, stdout, stderr } = await new Deno.Command("apt-get", {
    args: ["-qq", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", ...args],
    env: { DEBIAN_FRONTEND: "noninteractive" },
    stdin: "null",
  }).output();
  if (success) return undefined;
  const text = new TextDecoder();
  return (text.decode(stdout) + text.decode(stderr)).trimEnd().split("\n").slice(-3).join("; ");
}
