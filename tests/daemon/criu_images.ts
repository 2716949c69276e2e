/** CRIU's images where a daemon looks for them. */

import type { CriuTask } from "../lazy/criu/criu_task.ts";
import { makeDirectory } from "./test_daemon.ts";

/** Dumps a task, and makes the directories of a daemon for which its images are named `images`. */
export async function directoryWith(task: CriuTask): Promise<string> {
  await task.dump();
  const directory = makeDirectory();
  await Deno.remove(`${directory}/criu`);
  await Deno.symlink(task.directory, `${directory}/criu`);
  return directory;
}
