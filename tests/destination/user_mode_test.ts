import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { within } from "../support/deadline.ts";
import { ScriptProcess } from "../support/processes.ts";
import { firstOf, needsRoot, skipReason, testUnless } from "../support/skip.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import type { AsNobody } from "./as_nobody.ts";
import { ScriptedMemory } from "./scripted_memory.ts";

const PAGES = 200;

/** Whether everybody may read this checkout: nobody's workers load their modules from it. */
function everybodyReads(): boolean {
  const { pathname } = new URL("../../client/faults/fault_worker.ts", import.meta.url);
  for (let end = pathname.length; end > 0; end = pathname.lastIndexOf("/", end - 1)) {
    const { mode, isFile } = Deno.statSync(pathname.slice(0, end));
    if ((mode! & (isFile ? 0o004 : 0o001)) === 0) return false;
  }
  return true;
}

const readable = everybodyReads()
  ? undefined
  : skipReason("no permission", "User nobody cannot read this checkout");
const granted = Deno.readTextFileSync("/proc/sys/vm/unprivileged_userfaultfd").trim() === "0"
  ? undefined
  : skipReason("no support", "vm.unprivileged_userfaultfd grants everything to everybody");

for (const backing of ["anonymous", "memfd"]) {
  for (const postcopy of [false, true]) {
    const how = postcopy ? "precopy, discards and postcopy" : "precopy alone";
    testUnless(
      firstOf(needsRoot(), readable, granted),
      `Destination of an unprivileged user with ${backing} memory takes ${how}`,
      async () => {
        await using process = new ScriptProcess("tests/destination/as_nobody.ts", [backing]);
        const line = <T extends AsNobody>(key: string) =>
          process.line(key, (text) => {
            const said = JSON.parse(text) as AsNobody;
            return key in said ? said as T : undefined;
          });
        const listening = await line<Extract<AsNobody, { port: number }>>("port");
        const to = { transport: "tcp", host: "127.0.0.1", port: listening!.port } as const;
        using source = new HostileSource(to, { ram: PAGES });
        const memory = new ScriptedMemory(source, { ram: PAGES });
        const all = Array.from({ length: PAGES }, (_, page) => page);
        await source.connect();
        source.encodeAdvise();
        source.encodeBlocks();
        memory.write(all, 1);
        memory.write(all.slice(20, 60), 2);
        memory.write(all.slice(30, 40), 0);
        memory.writeDifference(all.slice(50, 70), 3);
        if (postcopy) {
          memory.discard(all.slice(100, 150));
          memory.switchOver();
          memory.write(all.slice(100, 150), 4);
          source.encodeEnd();
        } else memory.endPrecopy();
        await source.flush();
        const ended = await within("the end", line<Extract<AsNobody, { uid: number }>>("sha256"));
        const expected = await crypto.subtle.digest("SHA-256", memory.bytes.slice());
        assertEquals(ended, { uid: 65534, sha256: new Uint8Array(expected).toHex() });
        assertEquals(listening!.userModeOnly, true);
        await source.hear(({ shuts }) => shuts.length > 0);
        source[Symbol.dispose]();
        await within("the process to end", process.ended);
      },
    );
  }
}
