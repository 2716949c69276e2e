/** Makes a dump one of three that build on each other, as a kernel with soft-dirty bits has CRIU make them. */

import { eachNumber } from "../../../client/lazy/criu/protobuf.ts";

const PAGE = 4096;
const PARENT = 1;
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 + 128);
  return [...bytes, value];
}

function record(fields: readonly (readonly [number, number])[]): number[] {
  const bytes = fields.flatMap(([field, value]) => [...varint(field * 8), ...varint(value)]);
  return [...new Uint8Array(new Uint32Array([bytes.length]).buffer), ...bytes];
}

/** Writes a `pagemap-PID.img`; each entry with its flags: 1 in the parent, 2 lazy, 4 present. */
export function pagemapBytes(
  pagesId: number,
  entries: readonly { readonly address: number; readonly pages: number; readonly flags: number }[],
): Uint8Array<ArrayBuffer> {
  return new Uint8Array([
    ...new Uint8Array(new Uint32Array([0x54564319, 0x56084025]).buffer),
    ...record([[1, pagesId]]),
    ...entries.flatMap(({ address, pages, flags }) =>
      record([[1, address], [2, pages], [4, flags]])
    ),
  ]);
}

interface Piece {
  readonly address: number;
  readonly pages: number;
  readonly flags: number;
  readonly offset: number;
}

/**
 * Spreads the memory of a process over a dump and two before it, a third for each. What the older dumps have of
 * pages that a newer one has is garbage.
 */
export function spreadOverDumps(images: string, pid: number): void {
  const path = `${images}/pagemap-${pid}.img`;
  const { pagesId, entries } = readEntries(Deno.readFileSync(path));
  const name = `pages-${pagesId}.img`;
  const bytes = Deno.readFileSync(`${images}/${name}`);
  const pieces = piecesOf(entries);
  const oldest = `${images}-oldest`;
  const older = `${images}-older`;
  for (const [at, directory] of [images, older, oldest].entries()) {
    Deno.mkdirSync(directory, { recursive: true });
    const own = (index: number): boolean => index % 3 <= at;
    const kept = pieces.flatMap(({ pages, offset }, index) => {
      if (!own(index)) return [];
      const piece = bytes.slice(offset, offset + pages * PAGE);
      return [index % 3 < at ? piece.fill(0xa5) : piece];
    });
    Deno.writeFileSync(`${directory}/${name}`, concatenated(kept));
    const flagged = pieces.map((piece, index) => own(index) ? piece : { ...piece, flags: PARENT });
    Deno.writeFileSync(`${directory}/pagemap-${pid}.img`, pagemapBytes(pagesId, flagged));
  }
  const last = (directory: string): string => directory.slice(directory.lastIndexOf("/") + 1);
  Deno.symlinkSync(`../${last(older)}`, `${images}/parent`);
  Deno.symlinkSync(`../${last(oldest)}`, `${older}/parent`);
}

/** Cuts entries into pieces of 1 to 4 pages. */
function piecesOf(entries: readonly Omit<Piece, "offset">[]): Piece[] {
  const pieces: Piece[] = [];
  let offset = 0;
  for (const { address, pages, flags } of entries) {
    for (let done = 0; done < pages;) {
      const count = Math.min(pages - done, 1 + pieces.length % 4);
      pieces.push({ address: address + done * PAGE, pages: count, flags, offset });
      offset += count * PAGE;
      done += count;
    }
  }
  return pieces;
}

/** Of a dump of which all pages are present. */
function readEntries(bytes: Uint8Array): { pagesId: number; entries: Omit<Piece, "offset">[] } {
  const view = new DataView(bytes.buffer);
  const messages: Map<number, number>[] = [];
  for (let at = 8; at < bytes.length;) {
    const end = at + 4 + view.getUint32(at, true);
    const numbers = new Map<number, number>();
    eachNumber(bytes.subarray(at + 4, end), (field, value) => numbers.set(field, value));
    messages.push(numbers);
    at = end;
  }
  const [head, ...rest] = messages;
  const entries = rest.map((numbers) => ({
    address: numbers.get(1)!,
    pages: numbers.get(2)!,
    flags: numbers.get(4)!,
  }));
  return { pagesId: head!.get(1)!, entries };
}

function concatenated(arrays: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const array of arrays) {
    whole.set(array, at);
    at += array.length;
  }
  return whole;
}
