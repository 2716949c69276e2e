// deno-lint-ignore-file no-console -- the one place of the commands that writes
/** What a command writes, to whoever still reads it. */

/** Writes a line to standard output. */
export function printLine(text: string): void {
  unheard(() => console.log(text));
}

/** Writes a line to standard error. */
export function warnLine(text: string): void {
  unheard(() => console.error(text));
}

/** A terminal that was closed, or a reader that left, is no reason to end what a guest may need. */
function unheard(write: () => void): void {
  try {
    write();
  } catch {
    // There is nobody to tell.
  }
}
