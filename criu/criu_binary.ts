/**
 * Which CRIU the tests and the benchmarks start.
 *
 * - `CRIU`: the command, its words separated by spaces.
 * - Else the one in the tree of Debian trixie whose QEMU is tested (`QEMU_SYSTEM="chroot TREE ..."`, as
 *   `deno task test:peers` says it), else in the tree that it made once. It runs outside of the tree, by the
 *   tree's own loader: what it dumps lives out here.
 * - Else the installed one.
 *
 * Debian bookworm's (3.17) does not run on newer kernels, and is not what is tested.
 *
 * @module
 */

import { qemuFromEnvironment } from "../qemu/qemu_binary.ts";

const MADE_TREE = decodeURIComponent(new URL("../.cache/trixie", import.meta.url).pathname);
const OLDEST = 4;
/** CAP_SYS_RESOURCE, from include/uapi/linux/capability.h. */
const SYS_RESOURCE = 24n;

/** A CRIU that can be started. */
export interface CriuBinary {
  /** The command and its first arguments. */
  readonly command: readonly string[];
  /** Where more arguments for a loader may stand in it, in front of the program; 0: there is none. */
  readonly loaderArguments: number;
}

/** Why there is none. */
export interface CriuAbsence {
  readonly kind: "no permission" | "no support";
  readonly text: string;
}

/** Reads which CRIU to start; whether it exists is not looked at. */
export function criuFromEnvironment(
  environment: { get(name: string): string | undefined } = Deno.env,
): CriuBinary {
  const words = (environment.get("CRIU") ?? "").split(/\s+/).filter((word) => word !== "");
  if (words.length > 0) return { command: words, loaderArguments: 0 };
  const roots = [qemuFromEnvironment(environment).root, MADE_TREE];
  const tree = roots.find((root) => root !== "/" && exists(`${root}/usr/sbin/criu`));
  if (tree === undefined) return { command: ["criu"], loaderArguments: 0 };
  const machine = `${Deno.build.arch}-linux-gnu`;
  const loader = Deno.build.arch === "x86_64"
    ? `${tree}/usr/lib64/ld-linux-x86-64.so.2`
    : `${tree}/usr/lib/ld-linux-aarch64.so.1`;
  const libraries = `${tree}/usr/lib/${machine}`;
  const command = [loader, "--library-path", libraries, `${tree}/usr/sbin/criu`];
  return { command, loaderArguments: 3 };
}

/** Finds out why CRIU cannot be tested here, with what to do about it; undefined when it can. */
export async function whyNoCriu(
  binary: CriuBinary = criuFromEnvironment(),
): Promise<CriuAbsence | undefined> {
  if (Deno.uid() !== 0) {
    return { kind: "no permission", text: `CRIU needs root, this is user: ${Deno.uid()}` };
  }
  const advice = "run deno task test:peers, which has 4.1.1, or name one in CRIU";
  const [program, ...args] = binary.command;
  const asked: Deno.CommandOptions = {
    args: [...args, "--version"],
    stdin: "null",
    stderr: "null",
  };
  const version = /^Version: (\d+)\.(\S+)/m.exec(await outputOf(program!, asked));
  if (version === null) return { kind: "no support", text: `CRIU cannot be started: ${advice}` };
  if (Number(version[1]) >= OLDEST) return undefined;
  return { kind: "no support", text: `CRIU is too old: ${version[1]}.${version[2]}: ${advice}` };
}

/**
 * Whether this process lacks CAP_SYS_RESOURCE, as root of many a container does: the page server of a CRIU
 * without it cannot make a pipe of 1 GiB, and fails at the second request.
 */
export function lacksPipeRight(): boolean {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(Deno.readTextFileSync("/proc/self/status"))![1]!;
  return (BigInt(`0x${mask}`) >> SYS_RESOURCE & 1n) === 0n;
}

async function outputOf(program: string, options: Deno.CommandOptions): Promise<string> {
  try {
    return new TextDecoder().decode((await new Deno.Command(program, options).output()).stdout);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
