/** The source side's command line. */

import { runCommandLine } from "../migration/command/run.ts";
import { ExitCode, exitCodeOf } from "./command_line.ts";
import { inspectCommand } from "./inspect_command.ts";
import { serveCommand } from "./serve_command.ts";

const usage = `postcopy, the source side: serves a machine's memory to a destination on demand

  deno run -A server/main.ts serve IMAGE --to tcp:HOST:PORT [options]
      Runs the machine in IMAGE at the destination and sends its pages, those it asks for first.
      --to ADDRESS                     where the destination listens: tcp:HOST:PORT or unix:PATH
      --mode MODE                      preempt-full (default), preempt or vanilla; the destination's
                                       capability postcopy-preempt must be on for the first two
      --max-postcopy-bandwidth BYTES   bytes a second of the background stream (suffix K, M or G);
                                       pages that are asked for are never limited; default 0: none
      --stall-timeout SECONDS          give up on a destination that takes nothing; default 30
      --spin MICROSECONDS              look for the next request so long before sleeping: lower
                                       latency for a busy core; default 0
      --json                           print the figures as one JSON object at the end

  deno run -A server/main.ts inspect IMAGE [--json]
      Prints the machine, RAM blocks, page counts and device sections of IMAGE.

IMAGE is a captured QEMU stream (migrate "exec:cat > IMAGE") or a raw memory file with IMAGE.json.
Exit codes: 0 done, 1 the migration failed, 2 wrong usage, 3 the image cannot be used,
4 the destination cannot be reached, 130 interrupted.`;

if (import.meta.main) {
  const commands = { serve: serveCommand, inspect: inspectCommand };
  const line = { usage, commands, usageCode: ExitCode.USAGE, exitCodeOf };
  Deno.exit(await runCommandLine(line, Deno.args));
}
