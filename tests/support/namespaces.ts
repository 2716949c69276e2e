/** Scripts of this project in namespaces of their own, where they may cut the network or change a file. */

import { commandPath } from "../../tools/find_command.ts";
import { within } from "./deadline.ts";
import { firstOf, needsCommand, needsRoot, type SkipReason } from "./skip.ts";

/** What such a test needs. */
export function needsNamespaces(): SkipReason | undefined {
  return firstOf(
    needsRoot(),
    needsCommand("unshare", "util-linux"),
    needsCommand("ip", "iproute2"),
  );
}

/**
 * Runs a script in a network and a mount namespace of its own, the loopback being up, and returns the JSON that
 * it prints last.
 *
 * @param script path in the project
 * @param before a command for the shell, run first
 */
export async function inNamespaces<T>(script: string, before = "true"): Promise<T> {
  const path = new URL(`../../${script}`, import.meta.url).pathname;
  const shell = `${commandPath("ip")} link set lo up && ${before} && exec "$@"`;
  const deno = [Deno.execPath(), "run", "-A", "--no-lock", "--cached-only", path];
  const child = new Deno.Command(commandPath("unshare"), {
    args: ["--net", "--mount", "sh", "-c", shell, "sh", ...deno],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  try {
    const { success, stdout, stderr } = await within(script, child.output(), 120_000);
    if (!success) throw new Error(`${script} failed: ${new TextDecoder().decode(stderr)}`);
    return JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!) as T;
  } catch (error) {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    throw error;
  }
}

/** For such a script: cuts the loopback, so that both ends of its connections hear no more of each other. */
export function cutLoopback(): void {
  const { success } = new Deno.Command(commandPath("ip"), {
    args: ["link", "set", "lo", "down"],
  }).outputSync();
  if (!success) throw new Error("Cannot set the loopback down");
}
