/**
 * Where a systemd comes from: the tree of Debian trixie whose QEMU is tested (`QEMU_SYSTEM="chroot TREE ..."`, as
 * `deno task test:peers` says it), else the one that it made once. The host's own is not touched.
 */

import { qemuFromEnvironment } from "../../qemu/qemu_binary.ts";
import { cache } from "../../tools/cache.ts";
import { exists } from "../../tools/debian.ts";
import { firstOf, needsCommand, needsRoot, type SkipReason, skipReason } from "../support/skip.ts";

const MADE_TREE = decodeURIComponent(new URL("trixie", cache).pathname);

/** The tree's path; undefined when there is none. */
export function systemdTree(
  environment: { get(name: string): string | undefined } = Deno.env,
): string | undefined {
  const roots = [qemuFromEnvironment(environment).root, MADE_TREE];
  return roots.find((root) => root !== "/" && exists(`${root}/usr/lib/systemd/systemd`));
}

/** Where cgroups of version 2 are; undefined when the host has none. */
export function cgroupRoot(
  mounts: string = Deno.readTextFileSync("/proc/self/mountinfo"),
): string | undefined {
  const line = mounts.split("\n").find((line) => / - cgroup2 /.test(line));
  return line?.split(" ")[4];
}

/** Why no systemd can be started here, as far as that is seen before it is tried. */
export function whyNoSystemd(): SkipReason | undefined {
  const missing = firstOf(
    needsRoot(),
    needsCommand("unshare", "util-linux"),
    needsCommand("nsenter", "util-linux"),
    needsCommand("pivot_root", "util-linux"),
  );
  if (missing !== undefined) return missing;
  if (systemdTree() === undefined) {
    return skipReason(
      "no support",
      "No systemd in a tree of Debian trixie: run deno task test:peers",
    );
  }
  if (cgroupRoot() !== undefined) return undefined;
  return skipReason("no support", "systemd needs cgroups of version 2: mount cgroup2");
}
