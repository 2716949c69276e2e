import { AssertionError, failed, show } from "./assertion_error.ts";

// deno-lint-ignore no-explicit-any
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** Asserts that `error` is an error of the class, whose message contains the text. */
export function assertIsError<E extends Error = Error>(
  error: unknown,
  // deno-lint-ignore no-explicit-any
  ErrorClass?: abstract new (...args: any[]) => E,
  msgMatches?: string | RegExp,
  msg?: string,
): asserts error is E {
  if (!(error instanceof Error)) {
    failed(`Expected "error" to be an Error object: ${show(error)}`, msg);
  }
  if (ErrorClass && !(error instanceof ErrorClass)) {
    const found = `"${error.constructor.name}" (${error.message})`;
    failed(`Expected error to be instance of "${ErrorClass.name}", but was ${found}`, msg);
  }
  if (msgMatches === undefined) return;
  const matches = typeof msgMatches === "string"
    ? error.message.includes(msgMatches)
    : msgMatches.test(error.message);
  if (!matches) {
    failed(
      `Expected error message to include ${show(msgMatches)}, but got ${show(error.message)}`,
      msg,
    );
  }
}

/**
 * Asserts that `fn` throws, and returns what it threw.
 *
 * @returns What was thrown.
 */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/**
 * Asserts that `fn` throws an error of the class, whose message contains the text.
 *
 * @returns The error.
 */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  // deno-lint-ignore no-explicit-any
  ErrorClass: abstract new (...args: any[]) => E,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  classOrMessage?: ErrorClass<E> | string,
  includesOrMessage?: string,
  msg?: string,
): unknown {
  const expected = expectation(classOrMessage, includesOrMessage, msg);
  try {
    fn();
  } catch (error) {
    return checked(error, expected);
  }
  failed("Expected function to throw", expected.msg);
}

/**
 * Asserts that `fn` returns a promise that rejects, and returns the reason.
 *
 * @returns The reason of the rejection.
 */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/**
 * Asserts that `fn` returns a promise that rejects with an error of the class, whose message
 * contains the text.
 *
 * @returns The error.
 */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  // deno-lint-ignore no-explicit-any
  ErrorClass: abstract new (...args: any[]) => E,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  classOrMessage?: ErrorClass<E> | string,
  includesOrMessage?: string,
  msg?: string,
): Promise<unknown> {
  const expected = expectation(classOrMessage, includesOrMessage, msg);
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
    if (typeof promise?.then !== "function") throw new TypeError("Not a promise");
  } catch (cause) {
    throw new AssertionError("Function throws when expected to reject", { cause });
  }
  try {
    await promise;
  } catch (error) {
    return checked(error, expected);
  }
  failed("Expected function to reject", expected.msg);
}

interface Expectation<E extends Error> {
  readonly ErrorClass: ErrorClass<E> | undefined;
  readonly includes: string | undefined;
  readonly msg: string | undefined;
}

function expectation<E extends Error>(
  classOrMessage: ErrorClass<E> | string | undefined,
  includesOrMessage: string | undefined,
  msg: string | undefined,
): Expectation<E> {
  if (typeof classOrMessage === "string") {
    return { ErrorClass: undefined, includes: undefined, msg: classOrMessage };
  }
  return { ErrorClass: classOrMessage, includes: includesOrMessage, msg };
}

function checked<E extends Error>(error: unknown, expected: Expectation<E>): unknown {
  if (expected.ErrorClass) {
    assertIsError(error, expected.ErrorClass, expected.includes, expected.msg);
  }
  return error;
}
