/** The devices that a stream's own description lists. */

import { ProtocolError } from "./protocol_error.ts";

/** A device as the stream's own description names it (docs/protocol.md section 1.5). */
export interface DescribedDevice {
  /** Section name, e.g. `cpu`, `0000:00:01.0/vga`. */
  readonly name: string;
  /** Tells devices of one name apart. */
  readonly instance: number;
  /** Version of its state; absent for devices that describe nothing. */
  readonly version?: number;
  /** Bytes of its section's payload. */
  readonly size: number;
}

/** What VMDESCRIPTION says. */
export interface VmDescription {
  /** Target page size, bytes. */
  readonly pageSize: number;
  /** Devices in the order their sections were written. */
  readonly devices: readonly DescribedDevice[];
}

type JsonObject = Record<string, unknown>;

/**
 * Reads the JSON text of a VMDESCRIPTION element.
 *
 * @throws {ProtocolError} When it is not such a description; offsets are unknown and 0.
 */
export function parseVmDescription(json: string): VmDescription {
  let root: unknown;
  try {
    root = JSON.parse(json);
  } catch (cause) {
    throw bad("JSON", cause instanceof Error ? cause.message : `${cause}`);
  }
  const description = object(root, "an object");
  return {
    pageSize: whole(description["page_size"], "page_size"),
    devices: list(description["devices"], "devices").map(device),
  };
}

function device(value: unknown): DescribedDevice {
  const described = object(value, "a device");
  const name = described["name"];
  if (typeof name !== "string") throw bad("a device with a name", `${name}`);
  const version = described["version"];
  return {
    name,
    instance: whole(described["instance_id"] ?? 0, `instance_id of ${name}`),
    ...(version === undefined ? {} : { version: whole(version, `version of ${name}`) }),
    size: bytesOf(described),
  };
}

/** Ours: QEMU's subsections have none of their own; bounds the recursion. */
const MAX_DEPTH = 16;

/**
 * Bytes that fields and subsections take in the stream. A field's size counts everything inside it; an
 * array's size is that of one element. A subsection has a head of its own: type, name, version.
 */
function bytesOf(described: JsonObject, depth = 0): number {
  if (depth > MAX_DEPTH) throw bad(`subsections at most ${MAX_DEPTH} deep`, "deeper ones");
  let bytes = 0;
  for (const value of list(described["fields"] ?? [], "fields")) {
    const field = object(value, "a field");
    bytes += whole(field["size"], "size of a field") * whole(field["array_len"] ?? 1, "array_len");
  }
  for (const value of list(described["subsections"] ?? [], "subsections")) {
    const subsection = object(value, "a subsection");
    const name = subsection["vmsd_name"];
    if (typeof name !== "string") throw bad("a subsection with a name", `${name}`);
    bytes += 1 + 1 + new TextEncoder().encode(name).length + 4 +
      bytesOf(subsection, depth + 1);
  }
  return bytes;
}

function object(value: unknown, expected: string): JsonObject {
  if (typeof value !== "object" || value === null) throw bad(expected, `${value}`);
  return value as JsonObject;
}

function list(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw bad(`a list of ${what}`, typeof value);
  return value;
}

function whole(value: unknown, what: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw bad(`a whole number for ${what}`, `${value}`);
  }
  return value;
}

function bad(expected: string, found: string): ProtocolError {
  return new ProtocolError("bad-description", 0, expected, found, "VM description");
}
