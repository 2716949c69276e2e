/** The plain way to read a capture: all of it in memory, one piece after the other, nothing shared. */

import { inflateSync } from "node:zlib";

const PAGE = 4096;

/** Memory by block name, and which pages the stream mentioned. */
export interface Memory {
  /** Content of each block. */
  readonly blocks: Map<string, Uint8Array>;
  /** `"block offset"` of each page that came. */
  readonly mentioned: Set<string>;
  /** How many records there were of each kind, by flag (docs/protocol.md section 1.3). */
  readonly records: Map<number, number>;
}

/**
 * Reconstructs the memory in a capture, as QEMU's destination would.
 *
 * @param bytes The capture.
 * @param at Where its `ram` SECTION_START is.
 */
export function readMemory(bytes: Uint8Array, at = ramStart(bytes)): Memory {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks = new Map<string, Uint8Array>();
  const mentioned = new Set<string>();
  const records = new Map<number, number>();
  let block = "";
  const name = (): string => {
    const length = bytes[at]!;
    const text = new TextDecoder().decode(bytes.subarray(at + 1, at + 1 + length));
    at += 1 + length;
    return text;
  };
  const section = (): void => {
    for (;;) {
      const word = Number(view.getBigUint64(at));
      const flags = word % PAGE;
      const offset = word - flags;
      at += 8;
      if (flags === 0x10) return;
      if (flags === 0x200) continue;
      if (flags === 0x04) {
        for (let left = offset; left > 0;) {
          const each = name();
          const length = Number(view.getBigUint64(at));
          at += 8;
          blocks.set(each, new Uint8Array(length));
          left -= length;
        }
        continue;
      }
      if ((flags & 0x20) === 0) block = name();
      const memory = blocks.get(block)!;
      mentioned.add(`${block} ${offset}`);
      const kind = flags & ~0x20;
      records.set(kind, (records.get(kind) ?? 0) + 1);
      switch (kind) {
        case 0x02:
          memory.fill(bytes[at]!, offset, offset + PAGE);
          at += 1;
          break;
        case 0x08:
          memory.set(bytes.subarray(at, at + PAGE), offset);
          at += PAGE;
          break;
        case 0x40: {
          const length = view.getUint16(at + 1);
          at += 3;
          applyRuns(memory, offset, bytes.subarray(at, at + length));
          at += length;
          break;
        }
        case 0x100: {
          const length = view.getUint32(at);
          at += 4;
          memory.set(inflateSync(bytes.subarray(at, at + length)), offset);
          at += length;
          break;
        }
        default:
          throw new Error(`Flags ${flags} at ${at - 8}`);
      }
    }
  };
  for (;;) {
    switch (bytes[at]) {
      case 0x01: // start: id, name, instance, version
        at += 5;
        name();
        at += 8;
        section();
        break;
      case 0x02:
      case 0x03:
        at += 5;
        section();
        break;
      case 0x7e:
        at += 5;
        break;
      case 0x08:
        at += 5 + view.getUint16(at + 3);
        break;
      default:
        return { blocks, mentioned, records };
    }
  }
}

/**
 * Reconstructs the memory in a mapped-ram file, as QEMU's destination would (docs/protocol.md section
 * 6).
 *
 * @param bytes The file.
 * @param at Where its `ram` SECTION_START is.
 */
export function readMappedMemory(bytes: Uint8Array, at = ramStart(bytes)): Memory {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u64 = (offset: number): number => Number(view.getBigUint64(offset));
  const blocks = new Map<string, Uint8Array>();
  const mentioned = new Set<string>();
  at += 1 + 4 + 1 + 3 + 4 + 4; // type, id, name, instance, version
  let left = u64(at) - 4;
  for (at += 8; left > 0;) {
    const name = new TextDecoder().decode(bytes.subarray(at + 1, at + 1 + bytes[at]!));
    at += 1 + bytes[at]!;
    const [length, bitmap, pages] = [u64(at), u64(at + 20), u64(at + 28)];
    const memory = new Uint8Array(length);
    for (let offset = 0; offset < length; offset += PAGE) {
      mentioned.add(`${name} ${offset}`);
      const page = offset / PAGE;
      const word = view.getBigUint64(bitmap + Math.floor(page / 64) * 8, true);
      if ((word >> BigInt(page % 64) & 1n) === 0n) continue;
      memory.set(bytes.subarray(pages + offset, pages + offset + PAGE), offset);
    }
    blocks.set(name, memory);
    left -= length;
    at = pages + length;
  }
  return { blocks, mentioned, records: new Map() };
}

/** Where the `ram` section starts: there is no other text like this near the start of a stream. */
function ramStart(bytes: Uint8Array): number {
  for (let at = 0;; at++) {
    if (
      bytes[at] === 1 && bytes[at + 5] === 3 && bytes[at + 6] === 0x72 && bytes[at + 8] === 0x6d
    ) {
      return at;
    }
  }
}

function applyRuns(memory: Uint8Array, start: number, runs: Uint8Array): void {
  let at = 0;
  let to = start;
  const count = (): number => {
    let value = runs[at]! & 0x7f;
    if (runs[at++]! >= 0x80) value |= runs[at++]! << 7;
    return value;
  };
  while (at < runs.length) {
    to += count();
    const length = count();
    memory.set(runs.subarray(at, at + length), to);
    at += length;
    to += length;
  }
}
