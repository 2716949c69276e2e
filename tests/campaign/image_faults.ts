/** What befalls the file that is served, and its healing. */

import type { Random } from "../support/random.ts";
import { setSavedTime } from "./content.ts";

/** Does something to an image's file. Returns what puts it back as it was. */
export function harmImage(
  path: string,
  how: "overwrite" | "truncate" | "replace",
  content: Uint8Array,
  random: Random,
): () => void {
  switch (how) {
    case "overwrite":
      overwrite(path, content.length, random);
      break;
    case "truncate":
      Deno.truncateSync(path, random.below(content.length));
      break;
    case "replace":
      Deno.renameSync(path, `${path}.before`);
      Deno.writeFileSync(path, random.bytes(4096));
      return () => Deno.renameSync(`${path}.before`, path);
  }
  return () => {
    // Not a new file: who has it open must see it.
    using file = Deno.openSync(path, { write: true });
    const bytes = content.slice();
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.close();
    setSavedTime(path);
  };
}

function overwrite(path: string, length: number, random: Random): void {
  using file = Deno.openSync(path, { write: true });
  for (let count = random.between(1, 30); count > 0; count--) {
    file.seekSync(random.below(length / 4096) * 4096, Deno.SeekMode.Start);
    file.writeSync(random.bytes(4096));
  }
}
