/** `client/main.ts lazy` in processes of its own. */

import type { LazyCommandEvent } from "../../client/command/lazy_report.ts";
import { ScriptProcess } from "../support/processes.ts";
import type { MemoryFile } from "./vmm.ts";

/** One of them. */
export class LazyProcess extends ScriptProcess {
  constructor(args: readonly string[]) {
    super("client/main.ts", ["lazy", ...args]);
  }

  /** Starts one that tells of events, and waits until it listens. */
  static async listening(...args: readonly string[]): Promise<LazyProcess> {
    const lazy = new LazyProcess([...args, "--json"]);
    if (await lazy.event("listening") === undefined) throw new Error((await lazy.ended).errors);
    return lazy;
  }

  /** Starts a holder at {@linkcode holderOf}. */
  static holding(file: MemoryFile): Promise<LazyProcess> {
    return LazyProcess.listening("--holder", holderOf(file));
  }

  /** Waits for an event of `--json`. */
  event(kind: LazyCommandEvent["event"]): Promise<LazyCommandEvent | undefined> {
    return this.line(kind, (line) => {
      const event = JSON.parse(line) as LazyCommandEvent;
      return event.event === kind ? event : undefined;
    });
  }
}

/** Where a holder listens for those who serve a file. */
export function holderOf(file: MemoryFile): string {
  return `${file.directory}/holder`;
}
