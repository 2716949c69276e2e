/** What may stand in the configuration's file. */

import { z } from "../npm/zod_openapi.ts";
import { SECTIONS } from "./command_sections.ts";

const UNITS = " KMGT";

/** Bytes: a number, or one with a suffix K, M, G or T (powers of 1024). */
const bytes = z.union([z.number(), z.string()]).transform((given, context) => {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)$/i.exec(String(given));
  if (match !== null) {
    return Math.floor(Number(match[1]) * 1024 ** UNITS.indexOf((match[2] || " ").toUpperCase()));
  }
  context.addIssue({ code: "custom", message: "No number of bytes, write for example 512M" });
  return z.NEVER;
});

const directory = z.string().startsWith("/", "No whole path, begin with a slash");

/** The file. */
export const configSchema = z.strictObject({
  stateDirectory: directory.default("/var/lib/postcopy"),
  images: z.strictObject({
    directory: directory.optional(),
    files: z.record(z.string(), directory).default({}),
  }).prefault({}),
  api: z.strictObject({
    /** `""`: none. */
    socket: z.union([directory, z.literal("")]).default("/run/postcopy/daemon.sock"),
    group: z.union([z.string(), z.int()]).transform(String).optional(),
    tcp: z.strictObject({
      listen: z.string(),
      tls: z.strictObject({ cert: directory, key: directory }).optional(),
      insecure: z.boolean().default(false),
      tokenFile: directory,
      hosts: z.array(z.string()).default([]),
    }).optional(),
  }).prefault({}),
  limits: z.strictObject({
    sessions: z.int().positive().default(256),
    memory: bytes.optional(),
    bandwidth: bytes.default(0),
    ended: z.int().nonnegative().default(1000),
  }).prefault({}),
  directories: z.strictObject({
    sockets: directory.optional(),
    credentials: directory.optional(),
    criu: directory.optional(),
  }).prefault({}),
  log: z.strictObject({
    format: z.enum(["text", "json"]).default("text"),
    level: z.enum(["debug", "info", "warning", "error"]).default("info"),
  }).prefault({}),
  serve: SECTIONS.serve.prefault({}),
  receive: SECTIONS.receive.prefault({}),
  lazy: SECTIONS.lazy.prefault({}),
});
