/** The JSON beside a raw memory file, read and written: which of its bytes are which RAM block. */

import { ImageError } from "../image_error.ts";

/** What a raw image's description says. */
export interface RawDescription {
  /** Versioned machine type; a destination of another one refuses. */
  readonly machine: string;
  /** Bytes of a target page. */
  readonly targetPageSize: number;
  /** RAM blocks. */
  readonly blocks: readonly RawBlock[];
  /** Name of the file with the device sections, relative to the image; absent when there are none. */
  readonly devices?: string;
}

/** A RAM block in a raw image. */
export interface RawBlock {
  /** Name, for example `"pc.ram"`. */
  readonly name: string;
  /** Where it lies in the file, in bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

const FORMAT = "postcopy-raw";
const VERSION = 1;
const REMEDY = `write it as { "format": "${FORMAT}", "version": ${VERSION}, "machine": NAME, ` +
  `"targetPageSize": 4096, "blocks": [{ "name", "offset", "length" }], "devices": FILE }`;

/** The name of the description of a raw image. */
export function descriptionPath(path: string): string {
  return `${path}.json`;
}

/** Reads the text of the file beside an image where its description would be; undefined without one. */
export async function readDescriptionFile(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(descriptionPath(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Whether JSON text is meant to describe a raw image: a file of that name may be something else. */
export function isRawDescription(text: string): boolean {
  return (parseJson(text) as { format?: unknown } | null | undefined)?.format === FORMAT;
}

/** The error for a file of no known kind, with JSON beside it that does not describe it. */
export function notADescription(path: string, text: string): ImageError {
  const description = descriptionPath(path);
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (error) {
    const problem = `Description that is no JSON (${(error as Error).message}): ${description}`;
    return new ImageError("bad-description", path, problem, "correct that file");
  }
  const { format } = Object(root) as { format?: unknown };
  const problem = format === undefined
    ? `without ${missingOf(Object(root)).join(", ")}`
    : `of another format: ${format}`;
  // It may as well belong to something else, and the file be damaged.
  const remedy = `serve a stream that QEMU wrote, or ${REMEDY}`;
  return new ImageError("not-an-image", path, `Description ${description} ${problem}`, remedy);
}

/** Members that a description must have, and that one lacks. */
function missingOf(root: object): string[] {
  const needed = ["format", "version", "machine", "targetPageSize", "blocks"];
  return needed.filter((name) => !Object.hasOwn(root, name));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Writes a raw image's description beside it.
 *
 * @param path the image's name
 * @param description what {@linkcode parseRawDescription} is to read
 */
export async function writeRawDescription(
  path: string,
  description: RawDescription,
): Promise<void> {
  const json = JSON.stringify({ format: FORMAT, version: VERSION, ...description }, null, 2);
  await Deno.writeTextFile(descriptionPath(path), `${json}\n`);
}

/**
 * Reads a raw image's description.
 *
 * @param path the image's name
 * @param size bytes of the image
 * @throws {ImageError} when it cannot be, or does not fit the image
 */
export function parseRawDescription(path: string, text: string, size: number): RawDescription {
  const root = JSON.parse(text) as Record<string, unknown>;
  const missing = missingOf(root);
  if (missing.length > 0) {
    const problem = `Description ${descriptionPath(path)} without ${missing.join(", ")}`;
    throw new ImageError("bad-description", path, problem, REMEDY);
  }
  const { version, machine, targetPageSize, blocks, devices } = root;
  if (version !== VERSION) throw bad(path, `version of a raw image: ${version}`);
  if (typeof machine !== "string" || machine === "") throw bad(path, `machine type: ${machine}`);
  if (targetPageSize !== 4096) {
    throw new ImageError(
      "unsupported",
      path,
      `Raw image with a target page size of ${targetPageSize}`,
      "only machines with pages of 4096 bytes can be served yet",
    );
  }
  if (!Array.isArray(blocks) || blocks.length === 0) throw bad(path, "list of RAM blocks");
  if (devices !== undefined && typeof devices !== "string") {
    throw bad(path, `name of the file with the device sections: ${devices}`);
  }
  return {
    machine,
    targetPageSize,
    blocks: blocks.map((block) => parseBlock(path, block, targetPageSize, size)),
    ...(devices === undefined ? {} : { devices }),
  };
}

function parseBlock(path: string, block: unknown, pageSize: number, size: number): RawBlock {
  const { name, offset, length } = (block ?? {}) as Record<string, unknown>;
  const encoded = typeof name === "string" ? new TextEncoder().encode(name).length : 0;
  if (typeof name !== "string" || encoded === 0 || encoded > 255) {
    throw bad(path, `name of a RAM block, 1 to 255 bytes: ${name}`);
  }
  if (!wholePages(offset, pageSize) || !wholePages(length, pageSize) || length === 0) {
    throw bad(path, `place of RAM block ${name}, in whole pages: ${length} bytes at ${offset}`);
  }
  if (offset + length > size) {
    throw new ImageError(
      "truncated",
      path,
      `Raw image of ${size} bytes ends before RAM block ${name} does, ${length} bytes`,
      "copy all of the file, or correct its description",
      { offset },
    );
  }
  return { name, offset, length };
}

function wholePages(value: unknown, pageSize: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 &&
    (value as number) % pageSize === 0;
}

function bad(path: string, what: string): ImageError {
  return new ImageError(
    "bad-description",
    path,
    `Description ${descriptionPath(path)} with a wrong ${what}`,
    REMEDY,
  );
}
