import { ok } from "node:assert/strict";
import { AssertionError, failed, show } from "./assertion_error.ts";

/** Any class, also an abstract one. */
// deno-lint-ignore no-explicit-any
export type AnyConstructor = abstract new (...args: any[]) => any;

/** The instances of a class. */
export type GetConstructorType<T extends AnyConstructor> = InstanceType<T>;

/** Asserts that `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  ok(expr, new AssertionError(msg));
}

/** A falsy value. */
export type Falsy = false | 0 | 0n | "" | null | undefined;

/** Asserts that `expr` is falsy. */
export function assertFalse(expr: unknown, msg = ""): asserts expr is Falsy {
  ok(!expr, new AssertionError(msg));
}

/** Asserts that `actual` is neither null nor undefined. */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) {
    failed(`Expected actual: "${actual}" to not be null or undefined`, msg);
  }
}

/** Asserts that `actual` is an instance of the class. */
export function assertInstanceOf<T extends AnyConstructor>(
  actual: unknown,
  expectedType: T,
  msg = "",
): asserts actual is GetConstructorType<T> {
  if (actual instanceof expectedType) return;
  failed(`Expected object to be an instance of "${expectedType.name}": ${show(actual)}`, msg);
}

/** Asserts that `actual` is not an instance of the class. */
export function assertNotInstanceOf<A, T>(
  actual: A,
  // deno-lint-ignore no-explicit-any
  unexpectedType: abstract new (...args: any[]) => T,
  msg?: string,
): asserts actual is Exclude<A, T> {
  if (!(actual instanceof unexpectedType)) return;
  failed(`Expected object to not be an instance of "${unexpectedType.name}"`, msg);
}

/** Fails. */
export function fail(msg?: string): never {
  failed("Failed assertion", msg);
}

/** Fails where code must not get to. */
export function unreachable(reason?: string): never {
  failed("Unreachable", reason);
}

/** Fails where code has still to be written. */
export function unimplemented(msg?: string): never {
  failed("Unimplemented", msg);
}
