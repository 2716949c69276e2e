/** What is wrong with data, in words. */

import { nearest } from "../../migration/command/nearest.ts";
import type { z } from "../npm/zod_openapi.ts";
import { knownKeys } from "./known_keys.ts";

/** One thing that is wrong. */
export interface Fault {
  /** Where: keys from the outside in. */
  readonly path: readonly PropertyKey[];
  /** What, with the value, and what to do. */
  readonly message: string;
}

/**
 * Explains why data does not fit a schema; unknown keys one by one, each with the nearest that there is.
 *
 * @param schema which it was to fit
 * @param data what was given
 */
export function explain(schema: z.ZodType, error: z.ZodError, data: unknown): Fault[] {
  return error.issues.flatMap((issue) => faultsOf(schema, issue as Issue, data));
}

/** Writes a place as it is written in the configuration: `api.tcp.listen`. */
export function placeText(path: readonly PropertyKey[]): string {
  return path.map((step) => typeof step === "number" ? `[${step}]` : String(step)).join(".")
    .replaceAll(".[", "[");
}

/** What is looked at of an issue. */
interface Issue {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
  readonly errors?: readonly (readonly Issue[])[];
}

/** What the library says of a value that is not there: what it is to be. */
const MISSING = /^Invalid (?:input|option): expected (.*?)(?:, received undefined)?$/;

function faultsOf(schema: z.ZodType, issue: Issue, data: unknown): Fault[] {
  const { path } = issue;
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(schema, path);
    return issue.keys!.map((key) => ({ path: [...path, key], message: unknownText(key, known) }));
  }
  if (issue.code === "invalid_union" && issue.errors !== undefined) {
    // Of several kinds of object the one that fails deepest, or at fewest places, was meant.
    const meant = issue.errors.filter((each) => each.length > 0)
      .sort((one, other) => depth(other) - depth(one) || one.length - other.length)[0];
    if (meant !== undefined && depth(meant) > 0) {
      return meant.flatMap((each) =>
        faultsOf(schema, { ...each, path: [...path, ...each.path] }, data)
      );
    }
  }
  const value = path.reduce<unknown>(
    (at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step],
    data,
  );
  if (value === undefined) {
    const [, expected] = MISSING.exec(issue.message) ?? [];
    if (expected !== undefined) return [{ path, message: `Missing: add it (${expected})` }];
  }
  const given = value === undefined ? "" : `: ${JSON.stringify(value)}`;
  return [{ path, message: `${sentence(issue.message)}${given}` }];
}

function depth(issues: readonly Issue[]): number {
  return Math.max(0, ...issues.map(({ path, code }) => path.length + (code[0] === "u" ? 1 : 0)));
}

function unknownText(key: string, known: readonly string[]): string {
  const meant = nearest(key, known);
  if (meant !== undefined) return `Unknown key: ${key}: did you mean ${meant}?`;
  return `Unknown key: ${key}: ${known.length === 0 ? "leave it out" : `use ${known.join(", ")}`}`;
}

/** The library's own words, as ours are written. */
function sentence(message: string): string {
  return message.replace(/^Invalid input: /, "Wrong value: ").replace(/\.$/, "");
}
