/** What is answered. */

import { z } from "../npm/zod_openapi.ts";
import { SESSION_STATUSES } from "../service/session.ts";

/** A session. */
export const sessionSchema = z.object({
  id: z.string(),
  direction: z.enum(["outgoing", "incoming", "lazy"]),
  image: z.string(),
  peer: z.string(),
  status: z.enum(SESSION_STATUSES),
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime().optional(),
  reason: z.string().optional(),
  code: z.string().optional(),
  remedy: z.string().optional(),
  recover: z.string().optional().openapi({ description: "What to type at the other end" }),
  statistics: z.looseObject({}).openapi({
    description:
      "As Source.statistics(), ImageReceiver.statistics() or Lazy.statistics() return it",
  }),
  refusals: z.object({ tls: z.int(), network: z.int(), silent: z.int() }).optional().openapi({
    description: "Connections that were turned away",
  }),
  notes: z.array(z.string()),
}).openapi("Session");

/** Sessions. */
export const sessionsSchema = z.object({ migrations: z.array(sessionSchema) })
  .openapi("Migrations");
/** Lazy sessions. */
export const lazySchema = z.object({ lazy: z.array(sessionSchema) }).openapi("LazySessions");

/** An image in a list. */
export const imageSchema = z.object({
  name: z.string(),
  size: z.int(),
  modified: z.iso.datetime(),
  order: z.boolean(),
  sessions: z.int(),
}).openapi("Image");
/** Images. */
export const imagesSchema = z.object({ images: z.array(imageSchema) }).openapi("Images");

/** What is in an image: as `inspect --json` prints it. */
export const inspectionSchema = z.looseObject({
  image: z.string(),
  kind: z.enum(["qemu-stream", "mapped-ram", "raw"]),
  machine: z.string(),
}).openapi("Inspection");

/** An order: as `order show --json` prints it. */
export const orderSchema = z.looseObject({
  stamp: z.string(),
  "page-size": z.int(),
  pages: z.int(),
}).openapi("Order");

/** How the daemon is. */
export const healthSchema = z.object({
  status: z.enum(["ok", "draining"]),
  version: z.string(),
  pid: z.int(),
  sessions: z.int(),
}).openapi("Health");

const counts = (description: string) => z.array(z.int()).openapi({ description });

/** What processes have written to. */
export const dirtySchema = z.object({
  processes: z.array(z.object({
    pid: z.int(),
    pages: z.int(),
    bitmap: z.string().openapi({
      description:
        "Base64: a bit for each page of 4 KiB of the memory file, the first page's the lowest of the " +
        "first byte",
    }),
  })),
}).openapi("DirtyPages");

/** Parts of a session's memory. */
export const mapSchema = z.object({
  "page-size": z.int().openapi({ description: "Bytes" }),
  "pages-per-cell": z.int(),
  blocks: z.array(z.object({
    name: z.string(),
    pages: z.int(),
    "first-cell": z.int(),
    cells: z.int(),
  })),
  missing: counts("Pages of each part that are neither sent nor asked for"),
  requested: counts("Pages that are asked for, and not sent yet"),
  sent: counts("Pages that are sent, or received"),
  absent: counts("Pages that the image never held"),
  asked: counts("Of all of these, pages that were asked for so far"),
}).openapi("MemoryMap");
