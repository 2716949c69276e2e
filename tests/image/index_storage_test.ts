import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { openIndexStorage } from "../../image/capture/index_storage.ts";
import { PowerCut } from "../support/power_cut.ts";
import { testPage, withDirectory } from "./captures.ts";

/** Runs with one of Deno's functions replaced, which the replacement calls. */
async function replacing<K extends string, F>(
  owner: { [key in K]: F },
  name: K,
  replace: (original: F) => F,
  run: () => Promise<void>,
): Promise<void> {
  const original = owner[name];
  owner[name] = replace(original);
  try {
    await run();
  } finally {
    owner[name] = original;
  }
}

Deno.test("IndexStorage gives an index its name only when all of it is on the disk", () =>
  withDirectory(async (directory) => {
    const cut = new PowerCut();
    const named: string[] = [];
    const temporary = (): string => {
      const [file, ...others] = [...Deno.readDirSync(directory)].map(({ name }) => name);
      assertEquals(others, []);
      return `${directory}/${file}`;
    };
    const sync = (original: Deno.FsFile["syncData"]): Deno.FsFile["syncData"] =>
      async function (this: Deno.FsFile) {
        await original.call(this);
        cut.synced(Deno.readFileSync(temporary()));
      };
    const rename = (original: typeof Deno.rename): typeof Deno.rename => async (from, to) => {
      cut.assertAllSynced(Deno.readFileSync(from), `naming ${from}`);
      await original(from, to);
      named.push(`${to}`);
    };
    const path = `${directory}/index`;
    await replacing(
      Deno.FsFile.prototype,
      "syncData",
      sync,
      () =>
        replacing(Deno, "rename", rename, async () => {
          using storage = await openIndexStorage(path);
          storage.reserve(4 * 4096);
          storage.write(8192, testPage(1));
          storage.write(0, testPage(2));
          const { memory, reason } = await storage.finish(4 * 4096);
          memory.close();
          assertEquals(reason, undefined);
        }),
    );
    assertEquals(named, [path]);
    const index = Deno.readFileSync(path);
    assertEquals(index.length, 4 * 4096);
    assert(index.subarray(4096, 8192).every((byte) => byte === 0));
    cut.assertAllSynced(index, "the use of the index");
  }));
