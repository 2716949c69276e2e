// deno-lint-ignore-file no-console -- a command

/**
 * `deno task setup [--test]`: makes the checkout ready and does nothing when it is.
 *
 * - Finds out whether JSR answers; where it does not, builds `.jsr/` from the stand-ins.
 * - Installs the npm packages and builds zstd-napi.
 * - Puts those of the daemon into Deno's cache.
 * - With `--test`, installs from Debian what the tests and benchmarks start and open.
 *
 * - With `--test`, records QEMU, where no recordings lie beside the checkout.
 *
 * What it installs it says before, with the reason. The demo needs none of it. The other tasks do this by themselves (tools/run.ts).
 *
 * @module
 */

import { cacheDaemonPackages } from "./daemon_packages.ts";
import { commandNeed, explainMissing, libraryNeed, provide } from "./debian.ts";
import { findJsr, type JsrSource } from "./jsr_source.ts";
import { provideRecordings } from "./recordings.ts";
import { installNpmPackages, npmPackagesReady } from "./zstd.ts";

const lockFile = new URL("../.deno/setup.lock", import.meta.url);

const interopNeeds = [
  commandNeed("qemu-system-x86_64", "qemu-system-x86", "run a real QEMU"),
  commandNeed("ip", "iproute2", "make network namespaces"),
  commandNeed("tc", "iproute2", "shape a link"),
  commandNeed("setpriv", "util-linux", "run as another user"),
  commandNeed("taskset", "util-linux", "pin a process to a core"),
  commandNeed("gcc", "gcc", "build a library that fails"),
  commandNeed("openssl", "openssl", "make certificates"),
  commandNeed("certtool", "gnutls-bin", "make certificates as docs/security.md says"),
  commandNeed("chromium", "chromium", "look at the daemon's page as its users do"),
  libraryNeed("libdeflate.so.0", "libdeflate0", "compress pages fast"),
];

/** The outcome of the set-up. */
export interface Setup {
  readonly jsr: JsrSource;
  /** What could not be had, one sentence each. */
  readonly problems: readonly string[];
}

/**
 * Makes the checkout ready.
 *
 * @param options `interop`: also install what the interop tests start.
 * @returns Where packages come from, and what is missing.
 */
export async function setUp(options: { interop: boolean }): Promise<Setup> {
  const jsr = await findJsr();
  if (jsr.standIns) {
    console.error("JSR does not answer: @std comes from the stand-ins in tools/jsr/");
  }
  const problems: string[] = [];
  if (!await npmPackagesReady()) {
    // Two tasks at once would remove node_modules under each other's hands.
    await Deno.mkdir(new URL(".", lockFile), { recursive: true });
    using lock = await Deno.open(lockFile, { create: true, write: true });
    await lock.lock(true);
    const problem = await installNpmPackages(jsr.environment);
    if (problem !== undefined) problems.push(problem);
  }
  const uncached = await cacheDaemonPackages(jsr.environment);
  if (uncached !== undefined) problems.push(uncached);
  if (options.interop) {
    const missing = await provide(interopNeeds);
    if (missing.length > 0) problems.push(explainMissing(missing));
    problems.push(...await provideRecordings());
  }
  return { jsr, problems };
}

if (import.meta.main) {
  const { problems } = await setUp({ interop: Deno.args.includes("--test") });
  for (const problem of problems) console.error(problem);
  Deno.exit(problems.length === 0 ? 0 : 1);
}
