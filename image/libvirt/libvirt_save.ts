/** A file that libvirt saved a domain into: what stands before QEMU's stream. */

import type { MappedMemory } from "../../ffi/memory.ts";
import { DAMAGED_REMEDY, ImageError } from "../image_error.ts";
import { unpackRemedy } from "../unpack_remedy.ts";
import {
  isLibvirtSave,
  LIBVIRT_HEADER_BYTES,
  type LibvirtFormat,
  readLibvirtHeader,
} from "./libvirt_header.ts";

/** Bytes of XML at most: libvirt itself sends none above 4 MiB. */
const XML_LIMIT = 16 * 1024 * 1024;

/** What libvirt wrote of a domain. */
export interface LibvirtSave {
  /** The domain's name; undefined when its XML has none. */
  readonly domain: string | undefined;
  /** The domain's XML, as libvirt wrote it. */
  readonly xml: string;
  /** Whether libvirt would let the guest go on when it restores it. */
  readonly running: boolean;
  /** How the stream is stored. */
  readonly format: LibvirtFormat;
  /** Where the stream begins, in bytes from the start of the file. */
  readonly streamOffset: number;
}

/**
 * Reads what stands before the stream.
 *
 * @param path the file's name, for errors
 * @param file all of it
 * @returns undefined when libvirt did not write the file
 * @throws {ImageError} when it is not whole, not complete, or of a kind that is not known
 */
export function readLibvirtSave(path: string, file: MappedMemory): LibvirtSave | undefined {
  const head = file.bytes(0, Math.min(LIBVIRT_HEADER_BYTES, file.length));
  if (!isLibvirtSave(head)) return undefined;
  const header = readLibvirtHeader(path, head, file.length);
  const xml = readXml(path, file, header.streamOffset - LIBVIRT_HEADER_BYTES);
  return { domain: domainName(xml), xml, ...header };
}

/** Behind the XML's NUL lies what only libvirt needs (a cookie), and zeros. */
function readXml(path: string, file: MappedMemory, length: number): string {
  const data = file.bytes(LIBVIRT_HEADER_BYTES, Math.min(length, XML_LIMIT));
  const end = data.indexOf(0);
  if (end < 0 && length > XML_LIMIT) {
    const problem = `Save file of libvirt with XML of more than ${XML_LIMIT} bytes`;
    const options = { offset: LIBVIRT_HEADER_BYTES };
    throw new ImageError("malformed", path, problem, DAMAGED_REMEDY, options);
  }
  return new TextDecoder().decode(end < 0 ? data : data.subarray(0, end));
}

/**
 * Sees that the stream is stored as it is, so that its pages can be served from where they lie.
 *
 * @param path the file's name, for errors
 * @throws {ImageError} with the command that unpacks it, when a program packed it
 */
export function requireUnpacked(path: string, save: LibvirtSave): void {
  const { format, streamOffset } = save;
  if (format === "raw" || format === "sparse") return;
  throw new ImageError(
    "not-an-image",
    path,
    `Save file of libvirt${of(save)} compressed by ${format}`,
    unpackRemedy(path, format, streamOffset),
  );
}

/** The domain, for a message; nothing when it has no name. */
function of({ domain }: LibvirtSave): string {
  return domain === undefined ? "" : `, domain ${domain},`;
}

/** What stands for characters in XML's text. */
const ENTITIES: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  amp: "&",
  quot: '"',
  apos: "'",
};

/** The domain's name: libvirt writes it as the first of the domain's elements. */
function domainName(xml: string): string | undefined {
  const [, text] = /<name>([^<]*)<\/name>/.exec(xml) ?? [];
  return text?.replace(
    /&(?:(lt|gt|amp|quot|apos)|#(\d{1,7})|#x([\da-fA-F]{1,6}));/g,
    (whole, name, decimal, hex) => {
      if (name !== undefined) return ENTITIES[name]!;
      const code = decimal === undefined ? parseInt(hex, 16) : Number(decimal);
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    },
  );
}
