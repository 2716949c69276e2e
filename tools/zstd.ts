// deno-lint-ignore-file no-console -- part of a command: it tells what takes long

/**
 * The npm packages of npm.json, above all zstd-napi with its native binding. They are not in deno.json:
 * every task would fetch them, and types could not be checked where node_modules is missing, for want
 * of those that Deno then takes for Node's.
 *
 * `deno install` exits 0 also when a package's install script failed, and does not run the script
 * again the next time: what counts is the built file, and `node_modules` goes before a new try.
 */

import { commandNeed, exists, explainMissing, type Need, provide } from "./debian.ts";
import { findCommand } from "./find_command.ts";
import { packages } from "./pins.ts";

const root = new URL("../", import.meta.url);
const nodeModules = new URL("node_modules/", root);
const binding = new URL("zstd-napi/build/Release/binding.node", nodeModules);

const purpose = "build zstd-napi";
const compilerNeeds: readonly Need[] = [
  commandNeed("python3", "python3", purpose),
  commandNeed("make", "make", purpose),
  commandNeed("g++", "g++", purpose),
  { debianPackage: "libnode-dev", purpose, present: () => nodePrefix() !== undefined },
];

/** Whether all npm packages are there, built, in the version that npm.json pins. */
export async function npmPackagesReady(): Promise<boolean> {
  if (!exists(binding)) return false;
  for (const { name, version } of await packages("npm")) {
    try {
      const text = await Deno.readTextFile(new URL(`${name}/package.json`, nodeModules));
      if ((JSON.parse(text) as { version: string }).version !== version) return false;
    } catch {
      return false;
    }
  }
  return true;
}

/**
 * Installs the npm packages and builds zstd-napi, unless that is done.
 *
 * @param environment Variables for `deno install`, so that it looks where all tasks look.
 * @returns undefined when all is there, else why not and what to do.
 */
export async function installNpmPackages(
  environment: Record<string, string>,
): Promise<string | undefined> {
  if (await npmPackagesReady()) return undefined;
  console.error("Installing npm packages (zstd-napi takes about 20 s to build)");
  // Try before asking for a compiler: with GitHub in reach the package brings a built binding.
  let output = await install(environment);
  if (await npmPackagesReady()) return undefined;
  const lacked = compilerNeeds.some((need) => !need.present());
  const missing = await provide(compilerNeeds);
  if (missing.length > 0) return explainMissing(missing);
  if (lacked) output = await install(environment);
  if (await npmPackagesReady()) return undefined;
  return `zstd-napi was not built: ${output.trimEnd().split("\n").slice(-12).join("\n")}`;
}

async function install(environment: Record<string, string>): Promise<string> {
  await Deno.remove(nodeModules, { recursive: true }).catch(() => {});
  const prefix = nodePrefix();
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["install", "--config", "npm.json"],
    cwd: root,
    env: {
      // npm trusts the system's certificates where it is told to; Deno must be told as well.
      DENO_TLS_CA_STORE: "mozilla,system",
      NO_COLOR: "1",
      JOBS: String(navigator.hardwareConcurrency),
      ...(prefix === undefined ? {} : { npm_config_nodedir: prefix }),
      ...environment,
    },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return text.decode(stdout) + text.decode(stderr);
}

/**
 * The prefix under which Node's headers lie. node-gyp would look for the headers of the Node
 * version that Deno claims to be, on nodejs.org; Node-API is stable, so any installed Node's do.
 */
function nodePrefix(): string | undefined {
  const node = findCommand("node");
  const candidates = ["/usr", "/usr/local"];
  if (node !== undefined) {
    candidates.unshift(Deno.realPathSync(node).replace(/\/[^/]+\/[^/]+$/, ""));
  }
  return candidates.find((prefix) => exists(`${prefix}/include/node/node_api.h`));
}
