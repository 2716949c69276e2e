/** What libvirt writes before a stream (../shared/facts/libvirt-save.md), made here. */

import { concat } from "./captures.ts";

/** XML of a domain, as far as anybody reads it here. */
export const XML =
  "<domain type='kvm'>\n  <name>web &amp; mail</name>\n  <uuid>6d</uuid>\n</domain>\n";

/** Bytes of the header. */
export const HEADER = 92;

/** What the header says instead of what is usual. */
export interface LibvirtShape {
  readonly magic?: string;
  readonly version?: number;
  /** By libvirt's number. */
  readonly format?: number;
  readonly running?: number;
  readonly bigEndian?: boolean;
  readonly dataLength?: number;
  readonly xml?: string;
}

/** Makes all that stands before the stream: header, XML, cookie and zeros. */
export function libvirtHead(shape: LibvirtShape = {}): Uint8Array {
  const text = new TextEncoder().encode(shape.xml ?? XML);
  const cookie = new TextEncoder().encode("<cookie/>\n");
  const data = new Uint8Array(text.length + 1 + cookie.length + 1 + 1000);
  data.set(text);
  data.set(cookie, text.length + 1);
  const header = new Uint8Array(HEADER);
  header.set(new TextEncoder().encode(shape.magic ?? "LibvirtQemudSave"));
  const view = new DataView(header.buffer);
  const words = [
    shape.version ?? 2,
    shape.dataLength ?? data.length,
    shape.running ?? 1,
    shape.format ?? 0,
    text.length + 1,
  ];
  words.forEach((word, i) => view.setUint32(16 + i * 4, word, shape.bigEndian !== true));
  return concat(header, data);
}
