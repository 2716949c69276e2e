/** What `inspect IMAGE` says. */

import { formatTable } from "../../migration/report/table.ts";
import { formatBytes, formatCount } from "../../migration/report/units.ts";
import type { CommandCount, DeviceSection, Image, ImageKind, IndexReport } from "../image.ts";
import type { PageCounts } from "../image.ts";
import type { LibvirtSave } from "../libvirt/libvirt_save.ts";

/** What is known of an image, ready for `JSON.stringify`. Sizes are in bytes. */
export interface ImageReport {
  /** The file's name. */
  readonly image: string;
  /** The file's format. */
  readonly kind: ImageKind;
  /** Where in the file QEMU's stream begins; absent where it begins with it. */
  readonly streamOffset?: number;
  /** The domain, when libvirt saved it. */
  readonly libvirt?: DomainReport;
  /** Versioned machine type. */
  readonly machine: string;
  /** Bytes of a target page. */
  readonly targetPageSize: number;
  /** Capabilities that the destination must have on, of those that the stream names. */
  readonly capabilities: readonly string[];
  /** The machine's UUID, when the destination is to check it. */
  readonly uuid?: string;
  /** RAM blocks with their page counts. */
  readonly blocks: readonly BlockReport[];
  /** Page counts of all blocks. */
  readonly pages: PageCounts;
  /** Device sections that come before memory. */
  readonly earlyDevices: readonly DeviceSection[];
  /** Device sections that come after memory. */
  readonly devices: readonly DeviceSection[];
  /** All sections before memory, with heads and footers. */
  readonly earlyBytes: number;
  /** All sections after memory, with heads and footers. */
  readonly deviceBytes: number;
  /** Commands met in the stream. */
  readonly commands: readonly CommandCount[];
  /** The index of a captured stream. */
  readonly index?: IndexReport;
}

/** What libvirt wrote of a domain, in an {@linkcode ImageReport}. */
export interface DomainReport extends Pick<LibvirtSave, "domain" | "running" | "format"> {
  /** The XML of the domain. */
  readonly xmlBytes: number;
}

/** A RAM block in an {@linkcode ImageReport}. */
export interface BlockReport extends PageCounts {
  /** The block's name. */
  readonly name: string;
  /** Bytes that migrate. */
  readonly usedLength: number;
  /** Bytes of a host page, for blocks of huge pages. */
  readonly pageSize?: number;
}

const KINDS: Readonly<Record<ImageKind, string>> = {
  "qemu-stream": "captured QEMU stream",
  "mapped-ram": "QEMU mapped-ram file",
  raw: "raw memory",
};

/**
 * Gathers what is known of an image. Of a raw image this reads all of it.
 *
 * @param image an open image
 */
export async function inspectImage(image: Image): Promise<ImageReport> {
  const counts = await image.countPages();
  const blocks = image.blocks.map(({ name, usedLength, pageSize }, i) => ({
    name,
    usedLength,
    ...(pageSize === undefined ? {} : { pageSize }),
    ...counts[i]!,
  }));
  const { uuid, capabilities } = image.configuration;
  const { index, earlySectionCount, streamOffset, libvirt } = image;
  return {
    image: image.path,
    kind: image.kind,
    ...(streamOffset === 0 ? {} : { streamOffset }),
    ...(libvirt === undefined ? {} : { libvirt: domainReport(libvirt) }),
    machine: image.machine,
    targetPageSize: image.targetPageSize,
    capabilities: capabilities ?? [],
    ...(uuid === undefined ? {} : { uuid: formatUuid(uuid) }),
    blocks,
    pages: total(counts),
    earlyDevices: image.deviceSections.slice(0, earlySectionCount),
    devices: image.deviceSections.slice(earlySectionCount),
    earlyBytes: image.earlySections.length,
    deviceBytes: image.deviceState.length,
    commands: image.commands,
    ...(index === undefined ? {} : { index }),
  };
}

function domainReport({ domain, running, format, xml }: LibvirtSave): DomainReport {
  return { domain, running, format, xmlBytes: new TextEncoder().encode(xml).length };
}

/**
 * Writes a report for a terminal.
 *
 * @returns lines, without a line end after the last
 */
export function formatImageReport(report: ImageReport): string {
  const sections = [
    formatTable(headRows(report), { align: ["left", "left"] }),
    formatTable(blockRows(report), {
      header: ["RAM block", "bytes", "size", "pages", "data", "zero", "missing"],
    }),
    ...deviceTable("device section before memory", report.earlyDevices, report.earlyBytes),
    ...deviceTable("device section", report.devices, report.deviceBytes),
  ];
  if (report.commands.length > 0) {
    const rows = report.commands.map(({ kind, count }) => [kind, formatCount(count)]);
    sections.push(formatTable(rows, { header: ["command", "times"] }));
  }
  if (report.pages.missing > 0) {
    const missing = formatCount(report.pages.missing);
    sections.push([`${missing} pages are not in the stream: they are served as zero pages`]);
  }
  return sections.map((lines) => lines.join("\n")).join("\n\n");
}

function headRows(report: ImageReport): string[][] {
  const { index, uuid, capabilities, streamOffset = 0, libvirt } = report;
  const begins = streamOffset === 0 ? "" : `, from byte ${formatCount(streamOffset)} on`;
  const rows = [
    ["image", report.image],
    ["kind", KINDS[report.kind] + begins],
    ...(libvirt === undefined ? [] : domainRows(libvirt)),
    ["machine", report.machine],
    ["target page", formatBytes(report.targetPageSize)],
  ];
  if (capabilities.length > 0) rows.push(["capabilities", capabilities.join(", ")]);
  if (uuid !== undefined) rows.push(["uuid", uuid]);
  if (index !== undefined) rows.push(["index", describeIndex(index)]);
  return rows;
}

function domainRows(
  { domain = "without a name", running, format, xmlBytes }: DomainReport,
): string[][] {
  return [
    ["libvirt domain", domain],
    ["saved", `${format}, to be ${running ? "continued" : "left paused"} when restored`],
    ["domain's XML", `${formatCount(xmlBytes)} bytes, which --xml prints`],
  ];
}

function describeIndex({ state, path, reason }: IndexReport): string {
  if (state === "reused") return `${path}, reused`;
  if (state === "temporary") return `kept in memory only: ${reason}`;
  return reason === undefined ? `${path}, made now` : `${path}, made anew: ${reason}`;
}

function blockRows({ blocks, pages, targetPageSize }: ImageReport): string[][] {
  const row = (name: string, bytes: number, { data, zero, missing }: PageCounts): string[] => [
    name,
    formatCount(bytes),
    formatBytes(bytes),
    ...[bytes / targetPageSize, data, zero, missing].map(formatCount),
  ];
  const rows = blocks.map((block) => row(block.name, block.usedLength, block));
  if (blocks.length > 1) {
    rows.push(row("all", blocks.reduce((sum, { usedLength }) => sum + usedLength, 0), pages));
  }
  return rows;
}

function deviceTable(title: string, devices: readonly DeviceSection[], bytes: number): string[][] {
  if (devices.length === 0) return [];
  const rows = devices.map(({ name, instance, version, size }) => [
    name,
    `${instance}`,
    `${version}`,
    formatCount(size),
  ]);
  rows.push(["all, with heads and footers", "", "", formatCount(bytes)]);
  return [formatTable(rows, { header: [title, "instance", "version", "bytes"] })];
}

function total(counts: readonly PageCounts[]): PageCounts {
  const sum = (key: keyof PageCounts) => counts.reduce((all, block) => all + block[key], 0);
  return { data: sum("data"), zero: sum("zero"), missing: sum("missing") };
}

/** The usual form: 8-4-4-4-12 hexadecimal digits. */
function formatUuid(uuid: Uint8Array): string {
  const hex = Array.from(uuid, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
