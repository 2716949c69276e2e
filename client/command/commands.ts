/** The commands of the destination side. */

import type { Commands } from "../../migration/command/command.ts";

/** The commands by name; each is loaded when it is called. */
export const destinationCommands = {
  receive: {
    summary: "takes a running QEMU's guest into an image",
    load: async () => (await import("./receive_command.ts")).RECEIVE,
  },
  lazy: {
    summary: "serves the memory of VMs and processes on demand",
    load: async () => (await import("./lazy_command.ts")).LAZY,
  },
  workload: {
    summary: "takes a guest for trials, runs it, and checks every byte",
    load: async () => (await import("./workload_command.ts")).WORKLOAD,
  },
  "workload-image": {
    summary: "makes a saved guest for trials, to be served",
    load: async () => (await import("./workload_image_command.ts")).WORKLOAD_IMAGE,
  },
} as const satisfies Commands;
