/** A server of a memory file in this process, for tests. */

import { Lazy, type LazyEvent, type LazyOptions } from "../../client/lazy/lazy.ts";
import type { MemoryFile } from "./vmm.ts";

/** A server at the file's socket, and what it told. */
export async function serving(
  file: MemoryFile,
  options: Partial<LazyOptions> = {},
): Promise<{ readonly lazy: Lazy; readonly events: LazyEvent[] }> {
  const events: LazyEvent[] = [];
  const lazy = await Lazy.open({
    ...options.from === undefined ? { image: file.path } : {},
    onEvent: (event) => events.push(event),
    ...options,
  });
  await lazy.listen(file.socket);
  return { lazy, events };
}
