/** The source side's command line. */

import { runCommandLine } from "../migration/command/run.ts";
import { sourceCommands } from "./command/commands.ts";

if (import.meta.main) {
  const line = {
    program: "deno run -A server/main.ts",
    about: "serves a machine's memory to a destination on demand (the source side)",
    commands: sourceCommands,
  };
  Deno.exit(await runCommandLine(line, Deno.args));
}
