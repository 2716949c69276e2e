/** The sections of the configuration that have the options of a command, in its words: `serve`, `receive`, `lazy`. */

import { ACCESS_OPTIONS, accessArguments } from "../../client/command/access_options.ts";
import {
  DECOMPRESS_OPTION,
  decompressThreadsArgument,
  MULTIFD_OPTION,
  multifdArgument,
} from "../../client/command/command_line.ts";
import { fromArguments } from "../../client/command/lazy_from.ts";
import { MEMORY_OPTIONS } from "../../client/command/lazy_options.ts";
import { ON_LOSS } from "../../client/lazy/lazy_task.ts";
import { MEMORY_FORMATS } from "../../client/lazy/memory_image.ts";
import {
  choiceArgument,
  type Option,
  type Options,
  type OptionValues,
} from "../../migration/command/arguments.ts";
import {
  APPROVAL_OPTIONS,
  switchoverAckArguments,
} from "../../migration/command/switchover_ack_options.ts";
import { ORDER_OPTIONS, orderArguments } from "../../server/command/order_arguments.ts";
import { OUTGOING_OPTIONS, outgoingArguments } from "../../server/command/outgoing_arguments.ts";
import { POSTCOPY_AFTER_OPTION, postcopyArgument } from "../../server/command/postcopy_after.ts";
import { z } from "../npm/zod_openapi.ts";
import { defined } from "../schema/defined.ts";
import type { LazyDefaults, ReceiveDefaults, ServeDefaults } from "./config.ts";

// What is of one session alone is said when it is started, and not here.
const { to: _to, ...OUTGOING } = OUTGOING_OPTIONS;
const SERVE = {
  ...OUTGOING,
  ...ORDER_OPTIONS,
  ...POSTCOPY_AFTER_OPTION,
} as const satisfies Options;

const RECEIVE = {
  ...DECOMPRESS_OPTION,
  ...MULTIFD_OPTION,
  ...APPROVAL_OPTIONS,
  ...ACCESS_OPTIONS,
} as const satisfies Options;

const { from: _from, order: _order, ...LAZY } = MEMORY_OPTIONS;

/** The schema of each section: as on the command line, but numbers may be numbers, and `on|off` a boolean. */
export const SECTIONS = {
  serve: sectionOf(SERVE),
  receive: sectionOf(RECEIVE),
  lazy: sectionOf(LAZY),
} as const;

/** A place that is never used: the options of a command want one, which the configuration does not say. */
const NOWHERE = "tcp:localhost:1";

/**
 * Reads the section `serve`.
 *
 * @throws {UsageError} as the command does
 */
export function serveDefaults(section: Record<string, unknown>): ServeDefaults {
  const values = section as OptionValues<typeof SERVE>;
  const { to: _to, ...source } = outgoingArguments({ ...values, to: NOWHERE });
  return {
    source: { ...source, ...postcopyArgument(values) },
    order: orderArguments(values),
  };
}

/**
 * Reads the section `receive`.
 *
 * @throws {UsageError} as the command does
 */
export function receiveDefaults(section: Record<string, unknown>): ReceiveDefaults {
  const values = section as OptionValues<typeof RECEIVE>;
  return {
    decompressThreads: decompressThreadsArgument(values["decompress-threads"]),
    ...multifdArgument(values.multifd),
    ...switchoverAckArguments(values),
    ...accessArguments(values),
  };
}

/**
 * Reads the section `lazy`.
 *
 * @throws {UsageError} as the command does
 */
export function lazyDefaults(section: Record<string, unknown>): LazyDefaults {
  const { format, "on-loss": onLoss, "no-fill": noFill, record, ...remote } =
    section as OptionValues<typeof LAZY>;
  const { from: _from, ...read } = fromArguments({ ...remote, from: `${NOWHERE}/image` })!;
  return defined({
    ...read,
    format: format === undefined ? undefined : choiceArgument("format", format, MEMORY_FORMATS),
    onLoss: onLoss === undefined ? undefined : choiceArgument("on-loss", onLoss, ON_LOSS),
    fill: noFill === undefined ? undefined : !noFill,
    record,
  });
}

function sectionOf(options: Options): z.ZodType<Record<string, unknown>> {
  return z.strictObject(
    Object.fromEntries(Object.entries(options).map(([name, option]) => [name, typeOf(option)])),
  );
}

function typeOf({ value }: Option): z.ZodType {
  if (value === undefined) return z.boolean().optional();
  const word = z.union([z.string(), z.number()]).transform(String);
  const choice = value === "on|off"
    ? z.union([z.boolean().transform((on) => on ? "on" : "off"), word])
    : word;
  return choice.optional();
}
