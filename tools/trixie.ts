// deno-lint-ignore-file no-console -- part of a command: it tells what takes long

/**
 * A tree of Debian trixie, for tests against newer versions of other programs than the host has:
 * `chroot TREE qemu-system-x86_64` runs the QEMU of its backports. criu/ runs its CRIU, tests/systemd its systemd.
 *
 * It is made once, in the cache that git ignores, by debootstrap as root; remove it to have a newer
 * one. Whatever debootstrap mounts or starts lives in namespaces of its own, which end with it, so
 * that nothing is left mounted however it ends.
 */

import { cache } from "./cache.ts";
import { commandNeed, exists, explainMissing, provide } from "./debian.ts";
import { commandPath, findCommand } from "./find_command.ts";

const RELEASE = "trixie";
/** What the tree has besides the least that a Debian has, by the suite that it is taken from. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  [RELEASE]: ["criu", "systemd", "procps"],
  "trixie-backports": ["qemu-system-x86"],
};
/** Settings of the host's apt that the tree's needs as well: how a mirror is reached and believed. */
const APT_SETTINGS = /^Acquire::(https?::Proxy\b|Check-|Retries)/;
const DEFAULT_MIRROR = "http://deb.debian.org/debian";

const tree = new URL("trixie/", cache);
const partial = new URL("trixie.partial/", cache);
const lockFile = new URL("trixie.lock", cache);
/** Says what is in a tree, so that one with too little is made anew. */
const STAMP = "etc/postcopy-tree.json";
const content = JSON.stringify({ release: RELEASE, packages: PACKAGES });

const needs = [
  commandNeed("debootstrap", "debootstrap", "make a tree of Debian trixie"),
  commandNeed("unshare", "util-linux", "make a tree of Debian trixie"),
];

/** Why there is no tree, with what to do about it. */
export class TreeError extends Error {
  override readonly name = "TreeError";
}

/**
 * Makes the tree, unless it is there.
 *
 * @returns Its path.
 * @throws {TreeError} For a user that is not root, without debootstrap, or when the mirror does not
 * give what is needed.
 */
export async function provideTrixie(): Promise<string> {
  const path = pathOf(tree).replace(/\/$/, "");
  if (isComplete()) return path;
  if (Deno.uid() !== 0) {
    throw new TreeError(
      `A tree of Debian trixie is made and used as root, this is user: ${Deno.uid()}`,
    );
  }
  const missing = await provide(needs);
  if (missing.length > 0) throw new TreeError(explainMissing(missing));
  await Deno.mkdir(cache, { recursive: true });
  using lock = await Deno.open(lockFile, { create: true, write: true });
  await lock.lock(true);
  if (isComplete()) return path;
  await removeTree(partial); // What an interrupted run left.
  const mirror = Deno.env.get("DEBIAN_MIRROR") ?? await hostMirror() ?? DEFAULT_MIRROR;
  console.error(
    `Making a tree of Debian trixie, once, from ${mirror} (about 300 MB, half a minute): ${path}`,
  );
  try {
    await makeTree(mirror);
  } catch (error) {
    await removeTree(partial);
    throw error;
  }
  await removeTree(tree); // One with other packages.
  await Deno.rename(partial, tree);
  return path;
}

function isComplete(): boolean {
  try {
    return Deno.readTextFileSync(new URL(STAMP, tree)) === content;
  } catch {
    return false;
  }
}

async function makeTree(mirror: string): Promise<void> {
  const root = pathOf(partial).replace(/\/$/, "");
  const settings = await hostSettings();
  const proxy = settings.get("Acquire::http::Proxy");
  const environment: Record<string, string> = proxy === undefined ? {} : { http_proxy: proxy };
  await contained(["debootstrap", "--variant=minbase", RELEASE, root, mirror], environment);
  const suites = Object.keys(PACKAGES).filter((suite) => suite !== RELEASE);
  await Deno.writeTextFile(
    `${root}/etc/apt/sources.list.d/suites.list`,
    suites.map((suite) => `deb ${mirror} ${suite} main\n`).join(""),
  );
  await Deno.writeTextFile(
    `${root}/etc/apt/apt.conf.d/90host`,
    [...settings].map(([name, value]) => `${name} "${value}";\n`).join(""),
  );
  const apt = [...["chroot", root, "apt-get", "-qq", "-y"], "--no-install-recommends"];
  await contained([...apt, "update"]);
  for (const [suite, names] of Object.entries(PACKAGES)) {
    await contained([...apt, "-t", suite, "install", ...names]);
  }
  await contained([...apt, "clean"]);
  await Deno.remove(`${root}/var/lib/apt/lists`, { recursive: true });
  await Deno.writeTextFile(`${root}/${STAMP}`, content);
}

/**
 * Runs a command that may mount and start things: they end with it, and it ends with this process.
 *
 * @throws {TreeError} When it fails, with the end of what it said.
 */
async function contained(
  command: readonly string[],
  environment: Record<string, string> = {},
): Promise<void> {
  const [program, ...args] = command;
  const { success, stdout, stderr } = await new Deno.Command(commandPath("setpriv"), {
    args: [
      ...["--pdeathsig", "KILL", commandPath("unshare"), "--mount", "--propagation", "private"],
      ...["--pid", "--fork", "--kill-child", commandPath(program!), ...args],
    ],
    env: {
      // Where a user's PATH leaves out the administrator's directories, dpkg does not work.
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      LC_ALL: "C.UTF-8",
      DEBIAN_FRONTEND: "noninteractive",
      ...environment,
    },
    stdin: "null",
  }).output();
  if (success) return;
  const text = new TextDecoder();
  const said = (text.decode(stdout) + text.decode(stderr)).trimEnd().split("\n").slice(-8).join(
    "\n",
  );
  throw new TreeError(
    `Cannot make a tree of Debian trixie, see that the mirror answers, or name another in ` +
      `DEBIAN_MIRROR: ${command.join(" ")}:\n${said}`,
  );
}

/** Removes a tree, but never what is mounted into it. */
async function removeTree(url: URL): Promise<void> {
  const path = pathOf(url);
  const mounted = (await Deno.readTextFile("/proc/self/mountinfo")).split("\n")
    .map((line) => line.split(" ")[4] ?? "").filter((point) => point.startsWith(path));
  if (mounted.length > 0) {
    throw new TreeError(`Not removed, for something is mounted there, unmount it: ${mounted[0]}`);
  }
  if (exists(url)) await Deno.remove(url, { recursive: true });
}

/** The mirror that the host's apt takes Debian from. */
async function hostMirror(): Promise<string | undefined> {
  const said = await ask("apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)");
  const uris = said.split("\n").map((line) => /^Debian (https?:\S+?\/debian)\/?$/.exec(line)?.[1]);
  return uris.find((uri) => uri !== undefined);
}

/** Those settings of the host's apt that the tree's needs. */
async function hostSettings(): Promise<Map<string, string>> {
  const said = await ask("apt-config", "dump", "--no-empty", "--format", "%F %v%n");
  const settings = said.split("\n").map((line) => /^(\S+) (.+)$/.exec(line))
    .filter((match) => match !== null && APT_SETTINGS.test(match[1]!));
  return new Map(settings.map((match) => [match![1]!, match![2]!]));
}

/** What a command says; nothing when it is not there or fails. */
async function ask(command: string, ...args: string[]): Promise<string> {
  const path = findCommand(command);
  if (path === undefined) return "";
  const { stdout } = await new Deno.Command(path, { args, stdin: "null", stderr: "null" }).output();
  return new TextDecoder().decode(stdout);
}

function pathOf(url: URL): string {
  return decodeURIComponent(url.pathname);
}
