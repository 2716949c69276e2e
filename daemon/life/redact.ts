/** Keeping secrets out of what is written down. */

const SECRET_NAME = /token|secret|passw|authorization|cookie|psk|private/i;
const BEARER = /\b(Bearer|Basic)\s+[\w.~+/=-]+/gi;
const TOKEN_PARAMETER = /([?&](?:access_)?token=)[^&\s"']+/gi;
const HIDDEN = "[not shown]";

/** A text without what gives somebody access. */
export function redactText(text: string): string {
  return text.replace(BEARER, `$1 ${HIDDEN}`).replace(TOKEN_PARAMETER, `$1${HIDDEN}`);
}

/**
 * A value without what gives somebody access: what stands under a name of a secret, and tokens in texts. Names of
 * files that hold secrets are none.
 *
 * @param name under which it stands
 */
export function redact(value: unknown, name = ""): unknown {
  if (typeof value === "string") {
    return SECRET_NAME.test(name) && !/file|path|dir/i.test(name) ? HIDDEN : redactText(value);
  }
  if (Array.isArray(value)) return value.map((each) => redact(each, name));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, redact(each, key)]),
  );
}
