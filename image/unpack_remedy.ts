/** What to do about a compressed file: pages are served from where they lie, and cannot lie in one. */

import { fileExists } from "../ffi/file.ts";
import { shellWord } from "../migration/command/shell_word.ts";

/** Programs that unpack to their output with `-dc`, and leave the file alone. */
export type Packer = "gzip" | "bzip2" | "xz" | "lzop" | "zstd" | "lz4";

/**
 * Names the command that unpacks a file into a new one, as a remedy.
 *
 * @param path the file's name
 * @param packer what packed it
 * @param offset where in the file the packed bytes begin
 */
export function unpackRemedy(path: string, packer: Packer, offset = 0): string {
  const unpacked = unusedName(`${path}.unpacked`);
  const packed = quoted(path);
  const command = offset === 0
    ? `${packer} -dc ${packed}`
    : `tail -c +${offset + 1} ${packed} | ${packer} -dc`;
  return `pages are served from where they lie, so unpack it into another file, which may become as ` +
    `large as the guest's memory, and name that one: ${command} > ${quoted(unpacked)}`;
}

/** The command may be repeated in a hurry: it must not write over what is there. */
function unusedName(wanted: string): string {
  let name = wanted;
  for (let number = 2; fileExists(name); number++) name = `${wanted}-${number}`;
  return name;
}

/** A word for a shell; a name that begins with a dash would be an option. */
function quoted(path: string): string {
  return shellWord(path.startsWith("-") ? `./${path}` : path);
}
