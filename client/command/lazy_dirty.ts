/** `lazy --dirty DIR`: what VMs have written to, kept in files whenever SIGUSR1 asks for it. */

import type { Reporter } from "../../migration/command/reporter.ts";
import type { DirtyPages } from "../lazy/written_memory.ts";
import type { LazyCommandEvent } from "./lazy_report.ts";

/** Its option, for `parseCommand`. */
export const DIRTY_OPTION = {
  dirty: {
    value: "DIR",
    help:
      "at SIGUSR1 write DIR/PID.dirty for each VM: a bit for each page of 4 KiB of FILE, the first page's the " +
      "lowest of the first byte, set where the VM has written since it was restored, or removed; for the next " +
      "snapshot, with the VM paused. Of VMs that register their memory for asynchronous write protection " +
      "(Linux 6.7)",
  },
} as const;

/** Whoever knows what processes have written. */
interface Dirtied {
  dirtyPages(): Promise<DirtyPages[]>;
}

/**
 * Keeps files at each signal, one behind the other, until it is disposed of.
 *
 * @param directory which must be there
 */
export function onDirtySignal(
  lazy: Dirtied,
  directory: string,
  reporter: Reporter<LazyCommandEvent>,
): Disposable {
  let keeping: Promise<void> = Promise.resolve();
  const hear = () => {
    keeping = keeping.then(() => keepAll(lazy, directory, reporter));
  };
  Deno.addSignalListener("SIGUSR1", hear);
  return { [Symbol.dispose]: () => Deno.removeSignalListener("SIGUSR1", hear) };
}

async function keepAll(
  lazy: Dirtied,
  directory: string,
  reporter: Reporter<LazyCommandEvent>,
): Promise<void> {
  const all = await lazy.dirtyPages();
  if (all.length === 0) reporter.note("SIGUSR1: no VM is served of which it can be told");
  for (const { pid, bitmap, pages } of all) {
    const path = `${directory}/${pid}.dirty`;
    try {
      await replaceFile(path, bitmap);
      reporter.event({ event: "dirty", pid, pages, path });
    } catch (error) {
      reporter.note(`Dirty pages of process ${pid} are not kept: ${(error as Error).message}`);
    }
  }
}

/** Whoever reads it meanwhile finds the one before or this one, whole. */
async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    await Deno.writeFile(temporary, bytes, { createNew: true, mode: 0o600 });
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {}); // it may never have been made
    throw error;
  }
}
