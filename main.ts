/**
 * The command line of both sides, to be installed as one command:
 * `deno install -g -A -n postcopy ./main.ts`.
 *
 * @module
 */

import { destinationCommands } from "./client/command/commands.ts";
import { clientCommands } from "./daemon/command/client_commands.ts";
import type { CommandLine } from "./migration/command/command.ts";
import { runCommandLine } from "./migration/command/run.ts";
import { sourceCommands } from "./server/command/commands.ts";

/** What is installed. */
export const commandLine: CommandLine = {
  program: "postcopy",
  about: "moves the memory of a running machine to another host while it runs there already",
  commands: {
    serve: sourceCommands.serve,
    receive: destinationCommands.receive,
    restore: {
      summary: "runs a saved machine in a QEMU that waits, by its monitor",
      load: async () => (await import("./daemon/qmp/restore_command.ts")).RESTORE,
    },
    save: {
      summary: "saves the guest of a running QEMU, by its monitor",
      load: async () => (await import("./daemon/qmp/save_command.ts")).SAVE,
    },
    lazy: destinationCommands.lazy,
    inspect: sourceCommands.inspect,
    order: sourceCommands.order,
    daemon: {
      summary: "runs migrations for whoever asks, by HTTP",
      load: async () => (await import("./daemon/command/daemon_command.ts")).DAEMON,
    },
    // They need no package of npm: they ask, and the daemon answers.
    ...clientCommands,
    workload: {
      summary: "a guest to try it with: sent (--to) or received (--listen)",
      load: { to: sourceCommands.workload.load, listen: destinationCommands.workload.load },
    },
    "workload-image": destinationCommands["workload-image"],
  },
};

if (import.meta.main) {
  // Ends at once, though a thread may be held on a page that never comes.
  Deno.exit(await runCommandLine(commandLine, Deno.args));
}
