/** A QEMU's RAM blocks, as its own list tells them. */

/** A block. */
export interface RamBlock {
  readonly name: string;
  /** Bytes of its host pages. */
  readonly pageSize: number;
  /** Bytes that are in use. */
  readonly used: number;
  /** Bytes that it may grow to. */
  readonly total: number;
}

const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 1 << 10, MiB: 1 << 20, GiB: 1 << 30 };

/**
 * A line of the list: name, page size, offset, used and total length. A block without a name does not
 * migrate.
 */
const LINE = /^\s*(\S+)\s+(\d+)\s+(B|KiB|MiB|GiB)\s+0x[\da-f]+\s+0x([\da-f]+)\s+0x([\da-f]+)/i;

/**
 * Reads the answer to `x-query-ramblock` (QEMU 6.2 and later), which is text for people.
 *
 * @returns the blocks that migrate; none when the text is of another form
 */
export function parseRamBlocks(text: string): RamBlock[] {
  const blocks: RamBlock[] = [];
  for (const line of text.split("\n")) {
    const [, name, count, unit, used, total] = LINE.exec(line) ?? [];
    if (name === undefined) continue;
    blocks.push({
      name,
      pageSize: Number(count) * UNITS[unit!]!,
      used: parseInt(used!, 16),
      total: parseInt(total!, 16),
    });
  }
  return blocks;
}
