/** What Firecracker says with its userfaultfd: one JSON text, with no length and no end but its own. */

import { MigrationError } from "../../migration/migration_error.ts";
import { BASE_PAGE, type Region } from "./region.ts";

/** Far more than regions of any machine take. */
const MOST_BYTES = 1024 * 1024;

const [QUOTE, BACKSLASH, OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [...'"\\[]{}']
  .map((character) => character.charCodeAt(0));
const SPACES = [..." \t\r\n"].map((character) => character.charCodeAt(0));

/**
 * Finds the end of the text, however it is cut into pieces. Its first character opens an array, or an object
 * around it (nydus); it ends where that closes.
 */
export class FirecrackerMessage {
  readonly #pieces: Uint8Array<ArrayBuffer>[] = [];
  #length = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  #complete = false;

  /** True when the text has come in full. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Bytes of it so far. */
  get length(): number {
    return this.#length;
  }

  /**
   * Takes bytes, which may be any part of it. What follows behind its end is passed over.
   *
   * @throws {MigrationError} `BAD_PEER` when it is no such text
   */
  take(bytes: Uint8Array): void {
    if (this.#complete) return;
    for (let index = 0; index < bytes.length && !this.#complete; index++) {
      this.#length++;
      this.#byte(bytes[index]!);
      if (this.#complete) bytes = bytes.subarray(0, index + 1);
    }
    this.#pieces.push(bytes.slice());
    if (!this.#complete && this.#length > MOST_BYTES) {
      throw new MigrationError(
        "BAD_PEER",
        `Message of regions without an end: ${this.#length} bytes`,
      );
    }
  }

  /**
   * Reads the regions.
   *
   * @throws {MigrationError} `BAD_PEER` when they cannot be understood
   */
  regions(): Region[] {
    const bytes = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return parseRegions(new TextDecoder().decode(bytes));
  }

  #byte(byte: number): void {
    if (this.#depth === 0) {
      if (SPACES.includes(byte)) return;
      if (byte !== OPEN_ARRAY && byte !== OPEN_OBJECT) {
        throw badMessage(`starts with byte 0x${byte.toString(16).padStart(2, "0")}`);
      }
      this.#depth = 1;
    } else if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) this.#inString = false;
    } else if (byte === QUOTE) {
      this.#inString = true;
    } else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
      this.#depth++;
    } else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
      this.#complete = --this.#depth === 0;
    }
  }
}

/**
 * Reads regions as any version of Firecracker writes them, or nydus: members that are not known are left
 * alone.
 *
 * @throws {MigrationError} `BAD_PEER`
 */
export function parseRegions(text: string): Region[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw badMessage(`${(cause as Error).message}`, cause);
  }
  const list = Array.isArray(value) ? value : memberOf(value, "regions");
  if (!Array.isArray(list)) throw badMessage("it has no array of regions");
  return list.map(parseRegion);
}

function parseRegion(value: unknown, index: number): Region {
  if (typeof value !== "object" || value === null) throw badMessage(`region ${index} is no object`);
  return {
    address: numberOf(value, "base_host_virt_addr", index),
    length: numberOf(value, "size", index),
    offset: numberOf(value, "offset", index),
    pageSize: pageSizeOf(value, index),
  };
}

/** Firecracker 1.7 to 1.11 knew `page_size_kib` alone, whose value is bytes; 1.1 to 1.6 had neither. */
function pageSizeOf(region: object, index: number): number {
  for (const name of ["page_size", "page_size_kib"]) {
    const value = memberOf(region, name);
    if (value !== undefined && value !== null) return numberOf(region, name, index);
  }
  return BASE_PAGE;
}

function numberOf(region: object, name: string, index: number): number {
  const value = memberOf(region, name);
  // A larger number has lost its last digits when it is read.
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  const text = value === undefined ? "missing" : JSON.stringify(value);
  throw badMessage(`${name} of region ${index} is no number up to 2^53 - 1: ${text}`);
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name];
}

function badMessage(what: string, cause?: unknown): MigrationError {
  return new MigrationError(
    "BAD_PEER",
    `Message that is not of Firecracker's regions: ${what}: connect with mem_backend of type Uffd`,
    { cause },
  );
}
