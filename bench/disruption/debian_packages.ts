/** Debian's packages, unpacked where git ignores them: nothing is installed. */

import { cache } from "../../tools/cache.ts";
import { progress } from "../support/progress.ts";

/** Packages of a kernel for virtual machines: the first names the second. */
const KERNEL = "linux-image-cloud-amd64";
/** The server, and what it is linked with that not every Debian has. */
const REDIS = ["redis-tools", "libjemalloc2", "liblzf1"];

const directory = new URL("packages/", cache);
const decoder = new TextDecoder();

async function run(words: readonly string[], cwd?: URL): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(words[0]!, {
    args: words.slice(1),
    stdin: "null",
    ...cwd === undefined ? {} : { cwd },
  }).output();
  if (success) return decoder.decode(stdout);
  throw new Error(
    `Cannot have Debian's packages (is there a mirror, was apt-get update run?): ${
      words.join(" ")
    }: ${decoder.decode(stderr).trim().split("\n").at(-1)}`,
  );
}

/** Downloads packages and unpacks them into one tree, unless it is there; returns its path. */
async function provide(name: string, packages: readonly string[]): Promise<string> {
  const tree = new URL(`${name}/`, directory);
  const path = tree.pathname.slice(0, -1);
  const there = await Deno.stat(tree).then(() => true, () => false);
  if (there) return path;
  progress(`Downloading Debian's ${packages.join(", ")}, once`);
  await Deno.mkdir(directory, { recursive: true });
  const made = await Deno.makeTempDir({ dir: directory.pathname, prefix: "partial-" });
  try {
    const files = new URL(`file://${made}/`);
    await run(["apt-get", "-qq", "download", ...packages], files);
    const archives = [...Deno.readDirSync(made)].map((entry) => entry.name);
    for (const archive of archives) {
      await run(["dpkg", "-x", `${made}/${archive}`, `${made}/tree`]);
    }
    await Deno.rename(`${made}/tree`, path);
  } finally {
    await Deno.remove(made, { recursive: true });
  }
  return path;
}

/**
 * Provides Debian's kernel for virtual machines.
 *
 * @returns the path of its package's tree, with a directory `boot`
 * @throws {Error} when the mirror does not give it
 */
export async function provideKernel(): Promise<string> {
  const said = await run(["apt-cache", "depends", KERNEL]);
  const image = /Depends: (linux-image-\S+)/.exec(said)?.[1];
  if (image === undefined) {
    throw new Error(`Debian's kernel is not known here, run apt-get update: ${KERNEL}`);
  }
  return await provide(image, [image]);
}

/**
 * Provides Debian's redis-server.
 *
 * @returns the path of its packages' tree
 * @throws {Error} when the mirror does not give it
 */
export function provideRedis(): Promise<string> {
  return provide("redis", REDIS);
}

/** Path of the server in the tree of its packages. */
export const REDIS_SERVER = "usr/bin/redis-check-rdb";
