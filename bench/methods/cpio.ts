/**
 * Archives in the "newc" form of cpio, as Linux unpacks them at boot.
 *
 * Source of the format: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
 */

/** Types of entries, in the bits of a file's mode; from stat(2). */
export const CpioType = { DIRECTORY: 0o040000, FILE: 0o100000, LINK: 0o120000, DEVICE: 0o020000 };

/** One entry. */
export interface CpioEntry {
  /** Path without a leading slash. */
  readonly path: string;
  /** One of {@linkcode CpioType} and the permissions. */
  readonly mode: number;
  /** A file's bytes, or where a symbolic link points. */
  readonly data?: Uint8Array;
  /** Major and minor number of a device. */
  readonly device?: readonly [number, number];
}

const MAGIC = "070701";
const HEADER_BYTES = 110;
const TRAILER: CpioEntry = { path: "TRAILER!!!", mode: 0 };
const encoder = new TextEncoder();

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}

function nameLength({ path }: CpioEntry): number {
  return encoder.encode(path).length + 1;
}

function entryLength(entry: CpioEntry): number {
  return padded(HEADER_BYTES + nameLength(entry)) + padded(entry.data?.length ?? 0);
}

/** Writes entries into an archive; a directory must come before what lies in it. */
export function encodeCpio(entries: readonly CpioEntry[]): Uint8Array<ArrayBuffer> {
  const all = [...entries, TRAILER];
  const bytes = new Uint8Array(all.reduce((sum, entry) => sum + entryLength(entry), 0));
  let at = 0;
  all.forEach((entry, i) => {
    const { mode, data = new Uint8Array(0), device: [major, minor] = [0, 0] } = entry;
    const links = 1;
    // inode, mode, user, group, links, time, size, device (2), device it stands for (2), name, check
    const fields = [i + 1, mode, 0, 0, links, 0, data.length, 0, 0, major, minor];
    fields.push(nameLength(entry), 0);
    const header = MAGIC + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
    bytes.set(encoder.encode(`${header}${entry.path}`), at);
    bytes.set(data, at + padded(HEADER_BYTES + nameLength(entry)));
    at += entryLength(entry);
  });
  return bytes;
}
