/** Error thrown by every failed assertion. */
export class AssertionError extends Error {
  /**
   * @param message What was expected and what was found.
   * @param options `cause`, when another error led to this one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}

/** Throws the assertion error for `reason`, preceded or replaced by the caller's own message. */
export function failed(reason: string, message: string | undefined): never {
  throw new AssertionError(message === undefined ? reason : `${reason}: ${message}`);
}

/** Shows a value in one message, shortened when it is long. */
export function show(value: unknown): string {
  const text = Deno.inspect(value, { depth: 6, iterableLimit: 40, strAbbreviateSize: 2000 });
  return text.length > 4000 ? `${text.slice(0, 4000)}…` : text;
}
