/** Words of a command that is printed to be typed. */

/** Writes a word so that a shell takes it as it is. */
export function shellWord(word: string): string {
  return /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
