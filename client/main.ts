/** The destination side's command line. */

import { runCommandLine } from "../migration/command/run.ts";
import { ExitCode, exitCodeOf } from "./command/command_line.ts";
import { receiveCommand } from "./command/receive_command.ts";
import { workloadCommand } from "./command/workload_command.ts";
import { workloadImageCommand } from "./command/workload_image_command.ts";

const usage = `postcopy, the destination side: runs a machine whose memory arrives on demand

  deno run -A client/main.ts receive --listen tcp:HOST:PORT --image FILE [options]
      Receives a running QEMU's guest into an image: \`migrate tcp:HOST:PORT\` there, with
      migrate_start_postcopy or without. server/main.ts serve runs it again, so does QEMU 9.0 or later.
      --listen ADDRESS       where: tcp:HOST:PORT (port 0: one that is free) or unix:PATH
      --image FILE           the image; it appears when it is complete
      --overwrite            replace an image of that name
      --decompress-threads N
                             threads for the pages of a source that compresses; default 2
      --json                 print JSON objects, one a line: listening, progress, waiting, result

  deno run -A client/main.ts workload --listen tcp:HOST:PORT [options]
      Receives a workload guest, saved or running (server/main.ts serve or workload): threads that
      use all the memory, and know what it must hold.
      --listen ADDRESS       where: tcp:HOST:PORT (port 0: one that is free) or unix:PATH
      --threads N            the guest's threads; default 2
      --pattern ORDER        random (default), sequential, or once: each page once
      --write                change what was read, instead of only reading
      --rate N               most accesses of a thread in a second; default 0: no limit
      --cpus A,B,...         pin the threads to these CPUs in turn
      --accesses N           end a thread after so many accesses; default 0: no limit
      --until-touched        end when every page was touched, not when every page is here
      --seed N               refuse an image made with another seed
      --backing KIND         anonymous (default) or memfd
      --spin MICROSECONDS    look for page faults so long before sleeping; default 0
      --decompress-threads N
                             threads for the pages of a source that compresses; default 2
      --json                 print JSON objects, one a line: listening, progress, paused, result

  deno run -A client/main.ts workload-image FILE [options]
      Makes a saved workload guest, for server/main.ts serve: FILE, FILE.json, FILE.devices.
      --size BYTES           of its memory (suffix K, M or G); default 512M
      --seed N               what its content is made from; default 1
      --zero-every N         one page in N is zero; 0 for none; default 4
      --compressible N       the other pages compress to about one N-th: 1 (default, not at all), 2, 4,
                             8, 16, 32 or 64

When all memory of a workload is here it is stopped and every byte of it is checked.
Exit codes: 0 all is right, 1 the migration failed or a byte is wrong, 2 wrong usage, 4 the address
cannot be listened at, 130 interrupted.`;

if (import.meta.main) {
  const commands = {
    receive: receiveCommand,
    workload: workloadCommand,
    "workload-image": workloadImageCommand,
  };
  const line = { usage, commands, usageCode: ExitCode.USAGE, exitCodeOf };
  // Ends at once, though a thread may be held on a page that never comes.
  Deno.exit(await runCommandLine(line, Deno.args));
}
