/** Small images of every kind, to be served while something happens to their file. */

import { makeCapture, part, testPage } from "../image/captures.ts";
import { makeMappedRam } from "../image/mapped_ram_files.ts";

/** Bytes of a page. */
export const PAGE = 4096;

/** Where the pages of an image lie. */
export const IMAGE_KINDS = ["capture", "mapped-ram", "raw"] as const;
/** One of {@linkcode IMAGE_KINDS}. */
export type MadeKind = typeof IMAGE_KINDS[number];

/**
 * Writes an image of one RAM block, `ram`, with every page another.
 *
 * @param path the file's name
 * @returns its memory
 */
export async function writeImage(
  kind: MadeKind,
  path: string,
  pages: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const memory = new Uint8Array(pages * PAGE);
  for (let page = 0; page < pages; page++) memory.set(testPage(page), page * PAGE);
  await Deno.writeFile(path, await bytesOf(kind, path, memory));
  return memory;
}

async function bytesOf(
  kind: MadeKind,
  path: string,
  memory: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  const { length } = memory;
  const pageAt = (at: number) => memory.subarray(at, at + PAGE);
  if (kind === "capture") {
    return makeCapture(
      { blocks: [{ name: "ram", usedLength: length }] },
      (encoder) =>
        part(encoder, () => {
          encoder.block("ram");
          for (let at = 0; at < length; at += PAGE) encoder.page(at, pageAt(at), 0);
        }),
    );
  }
  if (kind === "mapped-ram") {
    const stored = new Map<number, Uint8Array>();
    for (let at = 0; at < length; at += PAGE) stored.set(at / PAGE, pageAt(at));
    return makeMappedRam({ blocks: [{ name: "ram", pages: length / PAGE, stored }] }).bytes;
  }
  const description = {
    format: "postcopy-raw",
    version: 1,
    machine: "pc-q35-10.0",
    targetPageSize: PAGE,
    blocks: [{ name: "ram", offset: 0, length }],
  };
  await Deno.writeTextFile(`${path}.json`, JSON.stringify(description));
  return memory;
}
