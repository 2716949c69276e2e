/** Small files of the daemon's state, each of which is whole on the disk, or not there. */

import { syncDirectory } from "../../ffi/file.ts";

/** Whoever may read them learns where guests are, and no secret. */
const MODE = 0o600;

/** Writes a value as JSON, in place of what was there: it is on the disk then. */
export async function writeStateFile(
  directory: string,
  name: string,
  value: unknown,
): Promise<void> {
  const path = `${directory}/${name}`;
  const temporary = `${path}.tmp`;
  using file = await Deno.open(temporary, {
    write: true,
    create: true,
    truncate: true,
    mode: MODE,
  });
  const bytes = new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  await file.syncData();
  await Deno.rename(temporary, path);
  syncDirectory(directory);
}

/** Removes one, where it is there. */
export async function removeStateFile(directory: string, name: string): Promise<void> {
  try {
    await Deno.remove(`${directory}/${name}`);
    syncDirectory(directory);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
