/** The words that talk to a daemon. */

import type { Commands } from "../../migration/command/command.ts";

/** The commands by name; each is loaded when it is called. */
export const clientCommands = {
  migrate: {
    summary: "has the daemon run an image, receive one, or serve memory",
    load: {
      to: async () => (await import("./migrate_command.ts")).MIGRATE_TO,
      listen: async () => (await import("./migrate_command.ts")).MIGRATE_LISTEN,
      firecracker: async () => (await import("./migrate_lazy_command.ts")).MIGRATE_FIRECRACKER,
      criu: async () => (await import("./migrate_lazy_command.ts")).MIGRATE_CRIU,
    },
  },
  status: {
    summary: "shows the daemon's sessions",
    load: async () => (await import("./status_command.ts")).STATUS,
  },
  pause: {
    summary: "breaks a session's connection, until recover",
    load: async () => (await import("./control_commands.ts")).PAUSE,
  },
  recover: {
    summary: "has a paused session go on",
    load: async () => (await import("./control_commands.ts")).RECOVER,
  },
  limit: {
    summary: "changes a session's bandwidth while it runs",
    load: async () => (await import("./control_commands.ts")).LIMIT,
  },
  cancel: {
    summary: "ends a session, if no guest needs it",
    load: async () => (await import("./control_commands.ts")).CANCEL,
  },
  events: {
    summary: "prints what happens in the daemon",
    load: async () => (await import("./events_command.ts")).EVENTS,
  },
  images: {
    summary: "lists the images that the daemon has",
    load: async () => (await import("./images_command.ts")).IMAGES,
  },
  top: {
    summary: "shows the daemon's sessions live",
    load: async () => (await import("./top_command.ts")).TOP,
  },
} as const satisfies Commands;
