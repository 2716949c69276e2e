import "../support/native.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { type IndexStorage, openIndexStorage } from "../../server/image/index_storage.ts";
import { withDirectory } from "./captures.ts";

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
    const module = new URL("../../server/image/index_storage.ts", import.meta.url).href;
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
