/** `inspect IMAGE`. */

import { printLine } from "../../migration/command/output.ts";
import {
  countArgument,
  type Options,
  parseCommand,
  UsageError,
} from "../../migration/command/arguments.ts";
import { nearest } from "../../migration/command/nearest.ts";
import type { Command } from "../../migration/command/command.ts";
import {
  ExitCode,
  exitCodeOf,
  IMAGE_KINDS,
  IMAGE_OPTIONS,
  imageArgument,
  offsetArgument,
} from "./command_line.ts";
import type { Image } from "../../image/image.ts";
import { readDomain } from "../../image/libvirt/libvirt_domain.ts";
import { openImage } from "../../image/open_image.ts";
import { formatImageReport, inspectImage } from "../../image/inspect/inspect.ts";
import { type DeviceChoice, inspectFields } from "../../image/inspect/inspect_fields.ts";
import { fieldsReportJson } from "../../image/inspect/inspect_fields_json.ts";
import { formatFieldsReport } from "../../image/inspect/inspect_fields_text.ts";

const OPTIONS = {
  ...IMAGE_OPTIONS,
  fields: {
    help:
      "print all fields of all devices instead, with their values, by the description in IMAGE; " +
      "as bytes where it has none that fits",
  },
  device: { value: "NAME", help: "print those of this device, for example cpu" },
  instance: {
    value: "N",
    help: "of those with one name, print this one; default all of them",
  },
  xml: { help: "print the XML of the domain that libvirt saved into IMAGE instead" },
  all: { help: "shorten no array and no bytes" },
  json: { help: "print JSON; of fields, the tree with offsets and sizes" },
} as const satisfies Options;

/** Options that mean nothing beside --xml. */
const OTHER_THAN_XML = ["offset", "fields", "device", "all", "json"] as const;

/** The command `inspect`. */
export const INSPECT: Command = {
  synopsis: "IMAGE [options]",
  about: [
    "Prints the machine, RAM blocks, page counts and device sections of IMAGE.",
    IMAGE_KINDS,
  ],
  options: OPTIONS,
  exits: {
    [ExitCode.DONE]: "done",
    [ExitCode.USAGE]: "wrong usage, or no such device",
    [ExitCode.BAD_IMAGE]: "the image cannot be used",
  },
  run: inspectCommand,
  exitCodeOf,
};

/**
 * Prints what is in an image.
 *
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {ImageError} for an image that cannot be used
 */
export async function inspectCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseCommand(args, OPTIONS);
  const { device, instance, json = false, all = false } = values;
  const path = imageArgument(positionals);
  const ofFields = values.fields === true || device !== undefined;
  if (instance !== undefined && device === undefined) {
    throw new UsageError(`No --device NAME with --instance: ${instance}`);
  }
  if (all && !ofFields) throw new UsageError("No --fields or --device NAME with --all");
  const other = OTHER_THAN_XML.find((name) => values[name] !== undefined);
  if (values.xml === true) {
    if (other !== undefined) throw new UsageError(`Both --xml and --${other} given: leave out one`);
    await printXml(path);
    return ExitCode.DONE;
  }
  const number = instance === undefined ? undefined : countArgument("instance", instance);
  const choice = device === undefined ? undefined : { name: device, instance: number };
  using image = await openImage(path, { offset: offsetArgument(values) });
  if (ofFields) {
    printFields(image, choice, { json, all });
  } else {
    const report = await inspectImage(image);
    printLine(json ? JSON.stringify(report, undefined, 2) : formatImageReport(report));
  }
  return ExitCode.DONE;
}

/** Of a packed file, too, whose stream could not be opened. */
async function printXml(path: string): Promise<void> {
  const { xml } = await readDomain(path);
  printLine(xml.replace(/\n$/, ""));
}

function printFields(
  image: Image,
  choice: DeviceChoice | undefined,
  { json, all }: { readonly json: boolean; readonly all: boolean },
): void {
  const report = inspectFields(image, choice);
  if (choice !== undefined && report.devices.length === 0) {
    const names = image.deviceSections.map(({ name }) => name);
    const meant = names.includes(choice.name) ? undefined : nearest(choice.name, names);
    const known = image.deviceSections.map(({ name, instance }) => `${name} (${instance})`);
    const remedy = meant === undefined
      ? `use ${known.join(", ")}`
      : `did you mean ${meant}? There are ${known.join(", ")}`;
    const wanted = choice.instance === undefined
      ? choice.name
      : `${choice.name}, instance ${choice.instance}`;
    throw new UsageError(`No such device in ${image.path}: ${wanted}: ${remedy}`);
  }
  printLine(json ? fieldsReportJson(report) : formatFieldsReport(report, { all }));
}
