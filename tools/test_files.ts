/** Finds test files by where they lie and what they say. */

const root = new URL("../", import.meta.url);

/**
 * Lists test files, relative to the checkout, in the order of their names.
 *
 * @param directory Such as `tests/image`.
 * @param matches Chooses by name and text.
 */
export async function testFiles(
  directory: string,
  matches: (path: string, text: string) => boolean,
): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(directory, root))) {
    const path = `${directory}/${name}`;
    if (isDirectory) found.push(...await testFiles(path, matches));
    if (!name.endsWith("_test.ts")) continue;
    if (matches(path, await Deno.readTextFile(new URL(path, root)))) found.push(path);
  }
  return found.sort();
}

/** Tells whether a test file starts the QEMU of `QEMU_SYSTEM`. */
export function startsQemu(text: string): boolean {
  return /\b(testedQemus|whyNoQemu)\(/.test(text);
}

/** Tells whether a test file reads recordings of QEMU. */
export function readsRecordings(text: string): boolean {
  return /\breadRecording\(/.test(text);
}

/** Tells whether a test file starts a systemd. */
export function startsSystemd(text: string): boolean {
  return /\bneedsSystemd\b/.test(text);
}

/** Tells whether a test file starts a CRIU. */
export function startsCriu(text: string): boolean {
  return /\bneedsCriu\b/.test(text);
}
