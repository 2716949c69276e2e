/** The commands `restore` and `save` as their user runs them, and the QEMUs that they speak to. */

import { assertEquals } from "@std/assert";
import type { MigrationInfo } from "../../../daemon/qmp/migration_info.ts";
import type { Qemu } from "../../../qemu/qemu.ts";
import type { SourceStatistics } from "../../../server/outgoing/statistics.ts";
import { within } from "../../support/deadline.ts";
import { ScriptProcess } from "../../support/processes.ts";

/** What `restore --json` prints. */
export interface Restored extends SourceStatistics {
  readonly destination?: MigrationInfo;
  readonly "destination-events"?: readonly { readonly event: string }[];
  readonly "error-desc"?: string;
}

/** Address of a QEMU's second monitor. */
export function qmpOf(qemu: Qemu): string {
  return `unix:${qemu.monitorPath}`;
}

/** `restore IMAGE --qmp ADDRESS --json` in a process of its own. */
export class RestoreProcess extends ScriptProcess {
  constructor(image: string, qmp: string, ...args: string[]) {
    super("main.ts", ["restore", image, "--qmp", qmp, "--json", ...args]);
  }

  /** Its figures, once it has ended well. */
  async restored(): Promise<Restored> {
    const { code, output, errors } = await within("restore to end", this.ended, 120_000);
    if (code !== 0) throw new Error(`restore ended with ${code}: ${errors}`);
    return JSON.parse(output) as Restored;
  }

  /** What it complained of, once it has ended with this code. */
  async failed(code: number): Promise<string> {
    const { code: found, errors } = await within("restore to end", this.ended, 120_000);
    assertEquals(found, code, errors);
    return errors;
  }
}

/** `save IMAGE --qmp ADDRESS --json` in a process of its own. */
export class SaveProcess extends ScriptProcess {
  constructor(image: string, qmp: string, ...args: string[]) {
    super("main.ts", ["save", image, "--qmp", qmp, "--json", ...args]);
  }

  /** Its result, once it has ended with this code. */
  async result(code = 0): Promise<{ result: Record<string, unknown>; errors: string }> {
    const { code: found, output, errors } = await within("save to end", this.ended, 120_000);
    assertEquals(found, code, errors);
    const last = output.split("\n").at(-1)!;
    return { result: last === "" ? {} : JSON.parse(last), errors };
  }
}

/** Capabilities and parameters of a QEMU. */
export async function settingsOf(qemu: Qemu): Promise<unknown> {
  return [
    await qemu.execute("query-migrate-capabilities"),
    await qemu.execute("query-migrate-parameters"),
  ];
}

/** Directories of private sockets beside a QEMU's monitor. */
export function privateSockets(qemu: Qemu): string[] {
  return [...Deno.readDirSync(qemu.directory.path)].map(({ name }) => name)
    .filter((name) => name.startsWith("postcopy-"));
}
