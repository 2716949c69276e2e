import "../support/native.ts";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type IndexStorage, openIndexStorage } from "../../image/capture/index_storage.ts";
import { replacing } from "../support/replacing.ts";
import { PowerCut } from "../support/power_cut.ts";
import { testPage, withDirectory } from "./captures.ts";

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

/** Writes an index and returns why it is not kept. */
async function reasonOf(storage: IndexStorage): Promise<string | undefined> {
  using _storage = storage;
  storage.reserve(4096);
  storage.write(0, new Uint8Array(4096));
  const { memory, reason } = await storage.finish(4096);
  memory.close();
  return reason;
}

Deno.test("openIndexStorage names the directory in which no index can be made", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/none/memory.postcopy-index`;
    const reason = await reasonOf(await openIndexStorage(path)) ?? "";
    assertStringIncludes(reason, `no file can be made in ${directory}/none/: No such file`);
    assertEquals(/[.]tmp/.test(reason), false, reason);
  });
});

Deno.test("openIndexStorage names no temporary file when the index cannot have its name", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/memory.postcopy-index`;
    await Deno.mkdir(`${path}/full`, { recursive: true });
    const reason = await reasonOf(await openIndexStorage(path)) ?? "";
    assertStringIncludes(reason, `no file can be made in ${directory}/: Is a directory`);
    assertEquals(/[.]tmp/.test(reason), false, reason);
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), [
      "memory.postcopy-index",
    ]);
  });
});

Deno.test("openIndexStorage says which permission it lacks, and for what", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/memory.postcopy-index`;
    const module = new URL("../../image/capture/index_storage.ts", import.meta.url).href;
    const program = `
      const { openIndexStorage } = await import("${module}");
      const storage = await openIndexStorage("${path}");
      storage.reserve(4096);
      console.log((await storage.finish(4096)).reason);`;
    await Deno.writeTextFile(`${directory}/program.ts`, program);
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--no-prompt", "--allow-ffi", "--allow-read", "program.ts"],
      cwd: directory,
      env: { NO_COLOR: "1" },
    }).output();
    assertEquals(
      new TextDecoder().decode(stdout),
      `no file can be made in ${directory}/: Requires write access to "${path}", run again with the ` +
        "--allow-write flag\n",
    );
  });
});
