/** Files of this machine, as a guest's page cache holds them. */

/** Where they come from, as far as it is there: text, and libraries. */
const DIRECTORIES = [
  ...["/usr/share/perl", "/usr/include/linux", "/usr/lib/x86_64-linux-gnu/perl-base"],
  ...["/usr/lib/x86_64-linux-gnu", "/usr/lib/python3", "/usr/share/doc"],
];
/** A file that takes more than this share of the room is left out. */
const LARGEST_SHARE = 1 / 8;

/** The plain files in a directory and those in it, in the order of their names. */
function* filesIn(directory: string): Generator<string> {
  let entries: Deno.DirEntry[];
  try {
    entries = [...Deno.readDirSync(directory)];
  } catch {
    return;
  }
  entries.sort((a, b) => a.name < b.name ? -1 : 1);
  for (const { name, isFile, isDirectory } of entries) {
    if (isFile) yield `${directory}/${name}`;
    else if (isDirectory) yield* filesIn(`${directory}/${name}`);
  }
}

/**
 * Reads files up to so many bytes: an equal share of each directory, the same ones each time.
 *
 * @param room bytes
 */
export function hostFiles(room: number): Uint8Array<ArrayBuffer>[] {
  const found: Uint8Array<ArrayBuffer>[] = [];
  for (const directory of DIRECTORIES) {
    let left = room / DIRECTORIES.length;
    for (const path of filesIn(directory)) {
      const { size } = Deno.statSync(path);
      if (size === 0 || size > room * LARGEST_SHARE || size > left) continue;
      found.push(Deno.readFileSync(path));
      left -= size;
    }
  }
  return found;
}
