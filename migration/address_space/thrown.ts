/** Errors of several calls, of which each was to be made. */

/**
 * Throws what was caught, if anything: one error as it is, several as an AggregateError.
 *
 * @param errors what was caught
 * @param message says what failed, when it was more than one
 */
export function throwErrors(errors: readonly unknown[], message: string): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length < 2) return;
  throw new AggregateError(errors, `${message}: ${errors.length} errors, the first: ${errors[0]}`);
}
