/** The source side's command line. */

import { runCommandLine } from "../migration/command/run.ts";
import { COMPRESS_HELP } from "./command/compress_arguments.ts";
import { ExitCode, exitCodeOf } from "./command/command_line.ts";
import { INSPECT_HELP, inspectCommand } from "./command/inspect_command.ts";
import { LIVE_HELP } from "./command/live_arguments.ts";
import { serveCommand } from "./command/serve_command.ts";
import { workloadCommand } from "./command/workload_command.ts";

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
      --huge-pages BLOCK,...           RAM blocks that lie in pages of 2 MiB at the destination
${COMPRESS_HELP}
      --json                           print the figures as one JSON object at the end

  deno run -A server/main.ts workload --to tcp:HOST:PORT [options]
      Runs a guest here, threads that write to all of its memory and know what it must hold, and
      moves it while it runs to client/main.ts workload. Ctrl-C cancels: the guest goes on here.
${LIVE_HELP}
      --warm-up SECONDS                let the guest run so long before; default 1
      --size BYTES                     of its memory; default 512M
      --page-size SIZE                 of the host: 4K (default), or 2M of hugetlbfs
      --threads N                      the guest's threads; default 8
      --pattern ORDER                  random (default), sequential, or once: each page once
      --rate N                         accesses of a thread in a second; default 0: no limit
      --cpus A,B,...                   pin the threads to these CPUs in turn
      --seed N                         what its content is made from; default 1
      --zero-every N                   one page in N is zero at first; 0 for none; default 4
      --compressible N                 its other pages compress to about one N-th: 1 (default, not at
                                       all), 2, 4, 8, 16, 32 or 64
      --json                           print JSON objects, one a line: started, progress, result

${INSPECT_HELP}

IMAGE is a captured QEMU stream (migrate "exec:cat > IMAGE"), a file that QEMU 9.0 or later wrote
with the capability mapped-ram (migrate file:IMAGE), or a raw memory file with IMAGE.json.
Exit codes: 0 done, 1 the migration failed, 2 wrong usage, 3 the image cannot be used,
4 the destination cannot be reached, 130 interrupted.`;

if (import.meta.main) {
  const commands = {
    serve: serveCommand,
    workload: workloadCommand,
    inspect: inspectCommand,
  };
  const line = { usage, commands, usageCode: ExitCode.USAGE, exitCodeOf };
  Deno.exit(await runCommandLine(line, Deno.args));
}
