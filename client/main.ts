/** The destination side's command line. */

import { runCommandLine } from "../migration/command/run.ts";
import { destinationCommands } from "./command/commands.ts";

if (import.meta.main) {
  const line = {
    program: "deno run -A client/main.ts",
    about: "runs a machine whose memory arrives on demand (the destination side)",
    commands: destinationCommands,
  };
  // Ends at once, though a thread may be held on a page that never comes.
  Deno.exit(await runCommandLine(line, Deno.args));
}
