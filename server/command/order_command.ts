/** `order show FILE`, `order merge FILE... --output FILE`. */

import { printLine } from "../../migration/command/output.ts";
import {
  type Options,
  type OptionValues,
  parseCommand,
  UsageError,
} from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { nearest } from "../../migration/command/nearest.ts";
import { formatCount } from "../../migration/report/units.ts";
import { readersOf } from "../../image/file_stamp.ts";
import { joinOrders } from "../../image/order/merge_order.ts";
import { type OwnedOrder, whyNotOf } from "../../image/order/order_codec.ts";
import { OrderError } from "../order/order_error.ts";
import {
  isVacant,
  ORDER_SUFFIX,
  readOrderFile,
  writeOrderFile,
} from "../../image/order/order_file.ts";
import { orderPicture } from "../order/order_picture.ts";
import { nameRuns } from "../order/page_run.ts";
import { ExitCode, exitCodeOf } from "./command_line.ts";

const OPTIONS = {
  output: { value: "FILE", help: "of merge: where the order goes; it may be one of those merged" },
  json: { help: "of show: print JSON, pages by runs" },
} as const satisfies Options;

const ACTIONS = ["show", "merge"] as const;

/** The command `order`. */
export const ORDER: Command = {
  synopsis: "show FILE | merge FILE... --output FILE [options]",
  about: [
    "Works on orders of first touch, which serve keeps beside an image (IMAGE.postcopy-order) to send first " +
    "what the machine touches first when it is restored. They are hints, and harmless to delete.",
    "show prints a picture of one: a line for each tenth of its pages, those touched first on top, and in it " +
    "where in the block they lie. FILE may be the image.",
    "merge joins several of one image, for example of several hosts that serve copies of it; where they " +
    "differ, the last one goes first.",
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]: "done",
    [ExitCode.USAGE]: "wrong usage",
    [ExitCode.BAD_IMAGE]: "an order cannot be used",
  },
  run: orderCommand,
  exitCodeOf: (error) => error instanceof OrderError ? ExitCode.BAD_IMAGE : exitCodeOf(error),
};

/**
 * Shows or merges orders.
 *
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {OrderError} for an order that cannot be used
 */
export async function orderCommand(args: readonly string[]): Promise<number> {
  const { values, positionals: [action, ...files] } = parseCommand(args, OPTIONS);
  if (action === undefined) {
    throw new UsageError(`Nothing to be done given: ${ACTIONS.join(" or ")}`);
  }
  if (action === "show") await show(files, values);
  else if (action === "merge") await merge(files, values);
  else {
    const meant = nearest(action, ACTIONS);
    throw new UsageError(
      `Unknown action: ${action}: ${
        meant === undefined ? `use ${ACTIONS.join(" or ")}` : `did you mean ${meant}?`
      }`,
    );
  }
  return ExitCode.DONE;
}

async function show(
  files: readonly string[],
  { output, json = false }: OptionValues<typeof OPTIONS>,
): Promise<void> {
  const [path, extra] = files;
  if (path === undefined) throw new UsageError("No FILE given to show");
  if (extra !== undefined) throw new UsageError(`One FILE at a time to show: ${extra}`);
  if (output !== undefined) throw new UsageError(`No --output with show: ${output}`);
  const order = await readShown(path);
  printLine(json ? JSON.stringify(orderReport(order)) : orderPicture(order).join("\n"));
}

async function merge(
  files: readonly string[],
  { output, json }: OptionValues<typeof OPTIONS>,
): Promise<void> {
  if (files.length === 0) throw new UsageError("No FILE given to merge");
  if (output === undefined) throw new UsageError("Nowhere to merge to given: say --output FILE");
  if (json !== undefined) throw new UsageError("No --json with merge");
  const orders: OwnedOrder[] = [];
  for (const path of files) {
    const order = await readOrder(path);
    const why = whyNotOf(orders[0] ?? order, order);
    if (why !== undefined) {
      throw new OrderError(`Order that cannot be merged with ${files[0]}: ${path}: ${why}`);
    }
    orders.push(order);
  }
  await requireReplaceable(output);
  const list = joinOrders(orders.map(({ list }) => list));
  const mode = await readersOf(files[0]!);
  const why = await writeOrderFile(output, { ...orders[0]!, list }, mode);
  if (why !== undefined) throw new OrderError(`Order cannot be written: ${output}: ${why}`);
  printLine(`Merged ${formatCount(list.pages.length)} pages into ${output}`);
}

/** What is no order, an image above all, is not lost to a slip of the hand. */
async function requireReplaceable(output: string): Promise<void> {
  if (typeof await readOrderFile(output) !== "string" || await isVacant(output)) return;
  throw new OrderError(`Output that is something else than an order: ${output}: name another file`);
}

async function readOrder(path: string): Promise<OwnedOrder> {
  const order = await readOrderFile(path);
  if (typeof order === "object") return order;
  throw new OrderError(
    order === undefined
      ? `No such order: ${path}: serve keeps one when the machine has asked for pages`
      : `Order cannot be used: ${path}: ${order}`,
  );
}

/** The order that a file is, or that lies beside it. */
async function readShown(path: string): Promise<OwnedOrder> {
  const itself = await readOrderFile(path);
  if (typeof itself === "object") return itself;
  const beside = await readOrderFile(`${path}${ORDER_SUFFIX}`);
  return typeof beside === "object" ? beside : await readOrder(path);
}

/** An order, ready for `JSON.stringify`: its pages by runs. */
export function orderReport({ stamp, layout, list: { pages, idle } }: OwnedOrder): object {
  const runs = [...nameRuns(layout, pages)].map(({ block, offset, length }) => ({
    block,
    offset,
    length,
  }));
  return {
    stamp,
    "page-size": layout.targetPageSize,
    blocks: layout.blocks.map(({ name, usedLength }) => ({ name, length: usedLength })),
    pages: pages.length,
    order: runs,
    idle: [...idle],
  };
}
