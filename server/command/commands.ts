/** The commands of the source side. */

import type { Commands } from "../../migration/command/command.ts";

/** The commands by name; each is loaded when it is called. */
export const sourceCommands = {
  serve: {
    summary: "runs a saved machine at a destination, pages on demand",
    load: async () => (await import("./serve_command.ts")).SERVE,
  },
  workload: {
    summary: "runs a guest for trials, and moves it while it runs",
    load: async () => (await import("./workload_command.ts")).WORKLOAD,
  },
  inspect: {
    summary: "prints what is in an image",
    load: async () => (await import("./inspect_command.ts")).INSPECT,
  },
  order: {
    summary: "shows and merges orders in which machines touch their memory",
    load: async () => (await import("./order_command.ts")).ORDER,
  },
} as const satisfies Commands;
