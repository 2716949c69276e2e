/** What the command `daemon` does; loaded by {@linkcode loadDaemon}. */

import { readConfig } from "../config/read_config.ts";
import { checkStart } from "./check_start.ts";
import type { DaemonWork } from "./load_daemon.ts";
import { runDaemon } from "./run_daemon.ts";

/** See {@linkcode DaemonWork}. */
export const WORK: DaemonWork = {
  check: async (path) => await checkStart(await readConfig(path)),
  run: async (path) => await runDaemon(await readConfig(path)),
};
