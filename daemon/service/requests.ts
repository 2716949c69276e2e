/** What can be asked of the service: names, units and defaults as in the module's options. */

import { COMPRESSION_METHODS } from "../../migration/compression.ts";
import { MODES } from "../../server/sending/mode.ts";
import { ON_LOSS } from "../../client/lazy/lazy_task.ts";
import { CRIU_VERSIONS } from "../../client/lazy/criu/lazy_tree.ts";
import { MEMORY_FORMATS } from "../../client/lazy/memory_image.ts";
import { z } from "../npm/zod_openapi.ts";

const milliseconds = z.number().nonnegative().max(86_400_000);
const count = z.int().nonnegative();
const approval = {
  switchoverAck: z.boolean().optional(),
  switchoverAckLegacy: z.boolean().optional(),
};

const imageName = z.string().min(1).openapi({
  description: "Name of an image: a file of the configured directory, or one that is configured",
});
const address = z.string().openapi({ example: "tcp:192.0.2.7:4444" });

/** TLS of an end that connects. */
const clientTls = z.strictObject({
  credentials: z.string().openapi({
    description: "Name of a directory or file in the configured directory of credentials",
  }),
  hostname: z.string().optional(),
  username: z.string().optional(),
  verifyPeer: z.boolean().optional(),
});

/** TLS of an end that listens. */
const serverTls = z.strictObject({
  credentials: clientTls.shape.credentials,
  authorized: z.array(z.string()).optional(),
  verifyPeer: z.boolean().optional(),
});

const compress = z.strictObject({
  method: z.enum(COMPRESSION_METHODS),
  level: z.int().optional(),
  threads: z.int().optional(),
  wait: z.boolean().optional(),
});

const multifd = z.strictObject({
  channels: z.int(),
  compression: z.enum([...COMPRESSION_METHODS, "none"]).optional(),
  level: z.int().optional(),
  uuid: z.string().optional(),
  flushAfterEachSection: z.boolean().optional(),
});

/** Starts the machine of an image at a destination, as `serve` does. */
export const outgoingRequest = z.strictObject({
  direction: z.literal("outgoing"),
  image: imageName,
  to: address,
  recover: z.boolean().optional().openapi({
    description: "Go on with a destination that is paused since another source ended or broke",
  }),
  startAnew: z.boolean().optional().openapi({
    description: "Start the machine although it was handed over before and that did not complete",
  }),
  offset: count.optional(),
  hugePages: z.array(z.string()).optional().openapi({
    description: "RAM blocks that lie in huge pages at the destination: of 2M, or of 1G",
    example: ["pc.ram=1G"],
  }),
  mode: z.enum(MODES).optional(),
  maxPostcopyBandwidth: z.number().nonnegative().optional().openapi({
    description: "Bytes a second",
  }),
  stallTimeout: milliseconds.optional(),
  recoverTimeout: milliseconds.optional(),
  spin: count.optional(),
  compress: compress.optional(),
  multifd: multifd.optional(),
  postcopyAfter: z.union([milliseconds, z.literal("signal")]).optional().openapi({
    description: "signal: once POST /v1/migrations/{id}/postcopy asks for it",
  }),
  ...approval,
  tls: clientTls.optional(),
  order: z.literal("off").optional().openapi({
    description: "off: the order of first touch is neither used nor kept",
  }),
  warm: milliseconds.optional(),
  holdBack: milliseconds.optional(),
}).openapi("OutgoingRequest");

/** Takes a running machine into an image, as `receive` does. */
export const incomingRequest = z.strictObject({
  direction: z.literal("incoming"),
  image: imageName,
  listen: address,
  overwrite: z.boolean().optional(),
  recover: z.string().optional().openapi({
    description: "Name of the file that a receive left which was killed after the switch",
  }),
  decompressThreads: count.optional(),
  multifdChannels: count.optional(),
  ...approval,
  stallTimeout: milliseconds.optional(),
  allowFrom: z.array(z.string()).optional(),
  tls: serverTls.optional(),
}).openapi("IncomingRequest");

const holder = z.string().optional().openapi({
  description: "Socket of a holder (lazy --holder), in the configured directory of sockets",
});

/** Serves the memory of Firecracker's VMs, as `lazy --firecracker` does. */
export const firecrackerRequest = z.strictObject({
  kind: z.literal("firecracker"),
  socket: z.string().min(1).openapi({
    description: "Where the VMs connect: a name in the configured directory of sockets",
  }),
  image: imageName.optional(),
  from: z.string().optional().openapi({
    description: "Instead, an image at a page server",
    example: "tcp:192.0.2.7:4445/vm",
  }),
  format: z.enum(MEMORY_FORMATS).optional(),
  order: z.literal("off").optional(),
  record: z.boolean().optional(),
  stallTimeout: milliseconds.optional(),
  lostAfter: milliseconds.optional(),
  onLoss: z.enum(ON_LOSS).optional(),
  fill: z.boolean().optional(),
  dirty: z.boolean().optional().openapi({
    description: "Whether it is to be told what VMs write to: GET /v1/lazy/{id}/dirty",
  }),
  holder,
  tls: clientTls.optional(),
}).openapi("FirecrackerRequest");

/** Serves the memory of a process tree that CRIU restores, as `lazy --criu` does. */
export const criuRequest = z.strictObject({
  kind: z.literal("criu"),
  images: z.string().min(1).openapi({
    description: "CRIU's images: a directory in the configured one of CRIU's",
  }),
  workDirectory: z.string().optional(),
  pageServer: address.optional(),
  criuVersion: z.enum(CRIU_VERSIONS).optional(),
  onLoss: z.enum(["hold", "poison"]).optional(),
  fill: z.boolean().optional(),
  holder,
}).openapi("CriuRequest");

/** A migration to be started. */
export const migrationRequest = z.discriminatedUnion("direction", [
  outgoingRequest,
  incomingRequest,
]);
/** A lazy session to be started. */
export const lazyRequest = z.discriminatedUnion("kind", [firecrackerRequest, criuRequest]);

/** See {@linkcode outgoingRequest}. */
export type OutgoingRequest = z.infer<typeof outgoingRequest>;
/** See {@linkcode incomingRequest}. */
export type IncomingRequest = z.infer<typeof incomingRequest>;
/** See {@linkcode migrationRequest}. */
export type MigrationRequest = z.infer<typeof migrationRequest>;
/** See {@linkcode firecrackerRequest}. */
export type FirecrackerRequest = z.infer<typeof firecrackerRequest>;
/** See {@linkcode criuRequest}. */
export type CriuRequest = z.infer<typeof criuRequest>;
/** See {@linkcode lazyRequest}. */
export type LazyRequest = z.infer<typeof lazyRequest>;
/** Whatever can be started. */
export type StartRequest = MigrationRequest | LazyRequest;
