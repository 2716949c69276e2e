/** The error for one field, on its way to whoever knows its device. */

import type { DeviceStateErrorCode, FieldFault } from "./device_state_error.ts";

/**
 * Thrown where a field is read or written, where neither the device nor the whole path is known; each
 * structure on its way adds its part, so that a load without errors keeps no path at all.
 */
export class FieldError implements FieldFault {
  readonly code: DeviceStateErrorCode;
  readonly field: string;
  readonly offset: number;
  readonly expected: string;
  readonly found: string;
  readonly cause: unknown;

  constructor(
    code: DeviceStateErrorCode,
    field: string,
    offset: number,
    expected: string,
    found: string,
    cause?: unknown,
  ) {
    this.code = code;
    this.field = field;
    this.offset = offset;
    this.expected = expected;
    this.found = found;
    this.cause = cause;
  }
}

/**
 * What was thrown while a structure was walked through, as a {@linkcode FieldError}: anything else is a
 * state that is not of its description's form, such as an object that is missing.
 */
export function fieldError(thrown: unknown, offset: number): FieldError {
  if (thrown instanceof FieldError) return thrown;
  return new FieldError(
    "bad-state",
    "",
    offset,
    "a state of the form of its description",
    messageOf(thrown),
    thrown,
  );
}

/** The error with what it lies in put before its path. */
export function within(outer: string, thrown: unknown, offset: number): FieldError {
  const { code, field, offset: at, expected, found, cause } = fieldError(thrown, offset);
  const path = field === "" ? outer : `${outer}.${field}`;
  return new FieldError(code, path, at, expected, found, cause);
}

/** The path of a field, or of an element of it; -1 for no element. */
export function fieldPath(key: string, index: number): string {
  return index < 0 ? key : `${key}[${index}]`;
}

/** What the device's own code threw in `hook`. */
export function hookError(hook: string, offset: number, cause: unknown, field = ""): FieldError {
  return new FieldError(
    "hook-failed",
    field,
    offset,
    `${hook} to accept the state`,
    messageOf(cause),
    cause,
  );
}

/** An error's message, or the thrown value itself. */
function messageOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? thrown.message : String(thrown);
  } catch {
    return typeof thrown;
  }
}
