// deno-lint-ignore-file no-console -- part of a command: it tells what takes long

/**
 * The npm packages of the daemon, and of its tests, which two folders name with their versions: they are put into
 * Deno's cache, so that tests and checks of types find them there without a network.
 */

import { exists } from "./debian.ts";

const root = new URL("../", import.meta.url);
const folders = ["daemon/npm/", "tests/daemon/npm/"].map((name) => new URL(name, root));
const SPECIFIER = /"npm:(@?[^@"]+)@(\d+\.\d+\.\d+)[^"]*"/g;

/** What was cached last, all of it with what it brings. */
const doneFile = new URL(".deno/daemon_packages.json", root);

/**
 * Caches the packages, unless they are there.
 *
 * @param environment variables for Deno, so that it looks where all tasks look
 * @returns undefined when all is there, else why not and what to do
 */
export async function cacheDaemonPackages(
  environment: Record<string, string>,
): Promise<string | undefined> {
  const cache = await cacheDirectory(environment);
  const files = folders.flatMap((folder) =>
    [...Deno.readDirSync(folder)].map(({ name }) => new URL(name, folder))
  );
  const texts = await Promise.all(files.map((file) => Deno.readTextFile(file)));
  const pins = texts.flatMap((text) => [...text.matchAll(SPECIFIER)])
    .map(([, name, version]) => `${name}/${version}`).sort();
  const wanted = JSON.stringify({ cache, pins });
  const there = pins.every((pin) => exists(`${cache}/npm/registry.npmjs.org/${pin}/package.json`));
  if (there && await Deno.readTextFile(doneFile).catch(() => "") === wanted) return undefined;
  console.error("Fetching the npm packages of the daemon");
  const paths = files.map(({ pathname }) => decodeURIComponent(pathname));
  // The first fetches what runs, the second what types are checked with.
  for (const command of ["cache", "check"]) {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [command, ...paths],
      cwd: root,
      // npm trusts the system's certificates where it is told to; Deno must be told as well.
      env: { DENO_TLS_CA_STORE: "mozilla,system", NO_COLOR: "1", ...environment },
      stdin: "null",
      stdout: "null",
    }).output();
    if (success) continue;
    const why = new TextDecoder().decode(stderr).trimEnd();
    return `The npm packages of the daemon were not fetched: ${why}`;
  }
  await Deno.mkdir(new URL(".", doneFile), { recursive: true });
  await Deno.writeTextFile(doneFile, wanted);
  return undefined;
}

/** Where Deno keeps what it has fetched. */
async function cacheDirectory(environment: Record<string, string>): Promise<string> {
  const said = environment["DENO_DIR"] ?? Deno.env.get("DENO_DIR");
  if (said !== undefined) return said.replace(/\/$/, "");
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  return (JSON.parse(new TextDecoder().decode(stdout)) as { denoDir: string }).denoDir;
}
